SET LOCAL lock_timeout = '2s';

-- The key by which the names and addresses of people are searched for: in lower case, without
-- accents and characters that are not displayed, with е for ё, plain hyphens and apostrophes, and
-- Latin letters for those that no accent can be taken off. In PL/pgSQL because the planner would
-- copy the expression into every place that calls it.
CREATE FUNCTION person_key(text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN replace(replace(replace(translate(lower(regexp_replace(normalize($1, NFKD),
        '[\u0300-\u036F\u0483-\u0489\u0591-\u05C7\u0610-\u061A\u064B-\u065F\u1AB0-\u1AFF\u1DC0-\u1DFF\u20D0-\u20FF\uFE20-\uFE2F\u00AD\u061C\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\uFE00-\uFE0F\uFEFF]',
        '', 'g')), E'øłđħŧı‐‑‒–—―−‘’ʼ`´', E'oldhti-------\'\'\'\'\''),
        'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe');
END
$$;

-- The pattern of LIKE for keys that begin with the key of a text.
CREATE FUNCTION person_pattern(text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN regexp_replace(person_key($1), '([\\%_])', '\\\1', 'g') || '%';
END
$$;
