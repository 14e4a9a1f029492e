DROP INDEX accounts_role_email;
