-- Indexes the texts again that were indexed before 30 and that it changes. Works in batches, each a
-- transaction of its own, which lock only the rows that they change. If it is interrupted, it can
-- begin again.
DO $$
DECLARE
    hidden CONSTANT text := '[\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFF8\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A\U000E0000-\U000E0FFF]';
    batch uuid[];
    last uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    LOOP
        batch := ARRAY(SELECT id FROM tickets WHERE id > last ORDER BY id LIMIT 500);
        EXIT WHEN batch = '{}';
        UPDATE search_documents d
        SET words = setweight(to_tsvector('desk', indexable(t.summary)), 'A')
            || setweight(to_tsvector('desk', indexable(t.description)), 'B')
        FROM tickets t
        WHERE t.id = ANY (batch) AND d.id = t.id
            AND (t.summary IS NOT NFKC NORMALIZED OR t.description IS NOT NFKC NORMALIZED
                OR t.summary ~ hidden OR t.description ~ hidden);
        last := batch[cardinality(batch)];
        COMMIT;
    END LOOP;
    last := '00000000-0000-0000-0000-000000000000';
    LOOP
        batch := ARRAY(SELECT id FROM comments WHERE id > last ORDER BY id LIMIT 500);
        EXIT WHEN batch = '{}';
        UPDATE search_documents d
        SET words = setweight(to_tsvector('desk', indexable(c.body)), 'C')
        FROM comments c
        WHERE c.id = ANY (batch) AND d.id = c.id
            AND (c.body IS NOT NFKC NORMALIZED OR c.body ~ hidden);
        last := batch[cardinality(batch)];
        COMMIT;
    END LOOP;
END
$$
