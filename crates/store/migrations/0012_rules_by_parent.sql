-- Rules and initial access tokens of one agent, found in order of names without walking the others.
DROP INDEX registration_rules_parent;
CREATE INDEX registration_rules_parent ON registration_rules (tenant, parent, name) WHERE parent IS NOT NULL;
DROP INDEX registration_tokens_parent;
CREATE INDEX registration_tokens_parent ON registration_tokens (tenant, parent, name) WHERE parent IS NOT NULL;
