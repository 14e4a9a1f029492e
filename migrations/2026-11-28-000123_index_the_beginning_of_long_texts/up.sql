SET LOCAL lock_timeout = '2s';

-- As before, but no more than the longest text has characters. One character may become eighteen (NFKC),
-- and Postgres refuses to index more than a mebibyte: such a text could neither be found nor changed.
CREATE OR REPLACE FUNCTION indexable(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT searchable(left(normalize(regexp_replace($1,
        '[\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFF8\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A\U000E0000-\U000E0FFF]',
        '', 'g'), NFKC), 65536))
$$;
