-- Many write at once here: an event gets its index when it is folded in, and has none until then.
SELECT 1;
