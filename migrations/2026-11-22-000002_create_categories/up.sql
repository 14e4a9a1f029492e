CREATE TABLE categories (
    id uuid PRIMARY KEY,
    -- The slug: stable, for scripts and links.
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND char_length(slug) <= 64),
    name_en text NOT NULL CHECK (char_length(name_en) BETWEEN 1 AND 80),
    name_ru text NOT NULL CHECK (char_length(name_ru) BETWEEN 1 AND 80),
    position integer NOT NULL,
    -- A retired category keeps its tickets and accepts no new ones.
    retired_at timestamptz
);

-- The ids are fixed, so that an integration can be written against a fresh installation.
INSERT INTO categories (id, slug, name_en, name_ru, position) VALUES
    ('0199a000-0000-7000-8000-000000000001', 'technical-support', 'Technical Support', 'Техническая поддержка', 1),
    ('0199a000-0000-7000-8000-000000000002', 'sales', 'Sales', 'Отдел продаж', 2),
    ('0199a000-0000-7000-8000-000000000003', 'financial-issues', 'Financial issues', 'Финансовые вопросы', 3);
