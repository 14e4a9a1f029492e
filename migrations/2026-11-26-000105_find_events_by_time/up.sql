-- Finds the events of a period, for figures. Events are stored in the order in which they happen, so
-- an index of ranges of pages is enough. It is a few kilobytes large, and most inserts don't touch it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_occurred ON events
    USING brin (occurred_at) WITH (pages_per_range = 32, autosummarize = on)
