DROP INDEX password_resets_email;
