-- Loses which keys were used: the next start accepts any.
DROP TABLE sealing_keys;
