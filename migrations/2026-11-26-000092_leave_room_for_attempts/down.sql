ALTER TABLE attempts RESET (fillfactor);
