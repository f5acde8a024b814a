-- What hangs on one parent is listed in order of names. With the name in the index the list is read off it; without,
-- SQLite walked every name of the tenant instead.

DROP INDEX tenants_parent;
CREATE INDEX tenants_parent ON tenants (tenant, parent, name) WHERE parent IS NOT NULL;
DROP INDEX trusted_issuers_parent;
CREATE INDEX trusted_issuers_parent ON trusted_issuers (tenant, parent, name) WHERE parent IS NOT NULL;
DROP INDEX users_parent;
CREATE INDEX users_parent ON users (tenant, parent, name) WHERE parent IS NOT NULL;
DROP INDEX agents_parent;
CREATE INDEX agents_parent ON agents (tenant, parent, name) WHERE parent IS NOT NULL;
DROP INDEX clients_parent;
CREATE INDEX clients_parent ON clients (tenant, parent, name) WHERE parent IS NOT NULL;
DROP INDEX blueprints_parent;
CREATE INDEX blueprints_parent ON blueprints (tenant, parent, name) WHERE parent IS NOT NULL;
DROP INDEX runtime_bindings_parent;
CREATE INDEX runtime_bindings_parent ON runtime_bindings (tenant, parent, name) WHERE parent IS NOT NULL;
DROP INDEX resources_parent;
CREATE INDEX resources_parent ON resources (tenant, parent, name) WHERE parent IS NOT NULL;
DROP INDEX grants_parent;
CREATE INDEX grants_parent ON grants (tenant, parent, name) WHERE parent IS NOT NULL;
DROP INDEX delegations_parent;
CREATE INDEX delegations_parent ON delegations (tenant, parent, name) WHERE parent IS NOT NULL;
DROP INDEX policy_sets_parent;
CREATE INDEX policy_sets_parent ON policy_sets (tenant, parent, name) WHERE parent IS NOT NULL;
DROP INDEX connections_parent;
CREATE INDEX connections_parent ON connections (tenant, parent, name) WHERE parent IS NOT NULL;
DROP INDEX connected_accounts_parent;
CREATE INDEX connected_accounts_parent ON connected_accounts (tenant, parent, name) WHERE parent IS NOT NULL;
