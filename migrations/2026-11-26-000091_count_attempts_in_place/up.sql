-- Every comment moved its bucket in this index. Empty buckets are few and found without it.
DROP INDEX CONCURRENTLY IF EXISTS attempts_empty
