-- Requests for a person's yes. `record` is the canonical text of what is approved and `hash` its SHA-256, under
-- the MAC of the tenant; `identity`
-- is the SHA-256 of what is asked, the same however often it is asked. `digest` is that of the handle that the asking
-- client polls with; a call has none, it is made again. `deadline` is until when an answer, then its use, is possible.
CREATE TABLE approvals (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  state TEXT NOT NULL,
  record TEXT NOT NULL,
  hash BLOB NOT NULL,
  mac BLOB NOT NULL,
  identity BLOB NOT NULL,
  digest BLOB,
  agent BLOB NOT NULL,
  client BLOB NOT NULL,
  addressed TEXT NOT NULL,
  quorum INTEGER NOT NULL,
  votes INTEGER NOT NULL,
  number INTEGER,
  poll_interval INTEGER NOT NULL,
  polled_at INTEGER,
  requested_at INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  escalated_at INTEGER,
  decided_at INTEGER,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
-- One open question for one thing.
CREATE UNIQUE INDEX approvals_pending ON approvals (tenant, identity) WHERE state = 'pending';
CREATE INDEX approvals_approved ON approvals (tenant, identity) WHERE state = 'approved';
CREATE UNIQUE INDEX approvals_digest ON approvals (tenant, digest) WHERE digest IS NOT NULL;
CREATE INDEX approvals_agent ON approvals (tenant, agent) WHERE state = 'pending';
CREATE INDEX approvals_addressed ON approvals (tenant, addressed) WHERE state = 'pending';
CREATE INDEX approvals_deadline ON approvals (deadline) WHERE state IN ('pending', 'approved');
CREATE INDEX approvals_ended ON approvals (deadline) WHERE state IN ('denied', 'expired', 'used');

-- What people answered: one answer of one person to one request.
CREATE TABLE approval_answers (
  tenant BLOB NOT NULL,
  approval BLOB NOT NULL,
  person BLOB NOT NULL,
  name TEXT NOT NULL,
  generation INTEGER NOT NULL,
  answer TEXT NOT NULL,
  methods TEXT NOT NULL,
  reason TEXT,
  time INTEGER NOT NULL,
  PRIMARY KEY (tenant, approval, person)
) WITHOUT ROWID, STRICT;

-- Messages that are to go out, written in the batch that they are about and delivered afterwards.
CREATE TABLE outbox (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  approval BLOB NOT NULL,
  channel TEXT NOT NULL,
  recipient TEXT NOT NULL,
  body TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  sent_at INTEGER,
  error TEXT,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE INDEX outbox_waiting ON outbox (next_at) WHERE state = 'waiting';
CREATE INDEX outbox_approval ON outbox (tenant, approval);
