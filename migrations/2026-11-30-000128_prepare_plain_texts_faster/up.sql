SET LOCAL lock_timeout = '2s';

-- As before, but a text without 128 characters has no run of them to cut.
CREATE OR REPLACE FUNCTION searchable(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN char_length($1) < 128 THEN replace($1, '<', '< ')
        ELSE regexp_replace(replace($1, '<', '< '), '(\S{128})', '\1 ', 'g') END;

-- As before, but most texts have nothing to prepare: those in ASCII, and those in NFKC whose characters
-- are all displayed. For the others, `searchable` would be inlined, and prepare the text twice.
CREATE OR REPLACE FUNCTION indexable(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length($1) = char_length($1) OR ($1 IS NFKC NORMALIZED AND $1 !~
        '[\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFF8\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A\U000E0000-\U000E0FFF]')
    THEN searchable(left($1, 65536))
    ELSE regexp_replace(replace(left(normalize(regexp_replace($1,
        '[\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFF8\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A\U000E0000-\U000E0FFF]',
        '', 'g'), NFKC), 65536), '<', '< '), '(\S{128})', '\1 ', 'g') END
$$;
