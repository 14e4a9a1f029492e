-- Texts that the consumer has not reached yet are added now.
INSERT INTO search_documents (id, ticket_id, visibility, summary, words)
SELECT id, id, 'public', summary, setweight(to_tsvector('desk', indexable(summary)), 'A')
    || setweight(to_tsvector('desk', indexable(description)), 'B')
FROM tickets t WHERE NOT EXISTS (SELECT FROM search_documents d WHERE d.id = t.id)
ON CONFLICT (id) DO NOTHING;
INSERT INTO search_documents (id, ticket_id, visibility, words)
SELECT id, ticket_id, visibility, setweight(to_tsvector('desk', indexable(body)), 'C')
FROM comments c WHERE NOT EXISTS (SELECT FROM search_documents d WHERE d.id = c.id)
ON CONFLICT (id) DO NOTHING;

DROP TRIGGER comments_searchable_at_once ON comments;
DROP TRIGGER tickets_searchable_at_once ON tickets;
DROP FUNCTION index_new_comment;
DROP FUNCTION index_new_ticket;
CREATE OR REPLACE TRIGGER comments_searchable
    AFTER INSERT OR DELETE OR UPDATE OF visibility, body ON comments
    FOR EACH ROW EXECUTE FUNCTION index_comment();
CREATE OR REPLACE TRIGGER tickets_searchable
    AFTER INSERT OR UPDATE OF summary, description ON tickets
    FOR EACH ROW EXECUTE FUNCTION index_ticket();
DELETE FROM set_aside_events WHERE consumer = 'search';
DELETE FROM consumer_offsets WHERE name = 'search';
