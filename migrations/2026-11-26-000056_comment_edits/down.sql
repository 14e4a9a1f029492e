DROP TABLE comment_edits;
