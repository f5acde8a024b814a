-- What agents called, read newest first and by what ended each call, without walking the rest of the log. The id of
-- the decision is the only text in a leaf that starts with `dec_`.
CREATE INDEX events_calls ON events (tenant, time, seq) WHERE kind = 'call.decided';
CREATE INDEX events_call_ends ON events (tenant, substr(leaf, instr(leaf, 'dec_'), 30)) WHERE kind = 'call.ended';
