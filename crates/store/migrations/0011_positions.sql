-- SQLite has one writer, so the order of events is known when they are written: each gets its index in the tree then,
-- and folding it in changes no row. What waits is what lies past the head of its log.
UPDATE events SET position = waiting.position
FROM (
  SELECT event.seq, head.size + ROW_NUMBER() OVER (PARTITION BY event.tenant ORDER BY event.seq) - 1 AS position
  FROM events AS event JOIN log_heads AS head ON head.tenant = event.tenant
  WHERE event.position IS NULL
) AS waiting
WHERE events.seq = waiting.seq;
DROP INDEX events_pending;
