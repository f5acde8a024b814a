-- A tenant's row lies in its own tenant, so that only an index over all of them keeps two nodes that start at
-- once from making the same tenant twice.
CREATE UNIQUE INDEX tenants_name_everywhere ON tenants (name);
CREATE UNIQUE INDEX tenants_base_everywhere ON tenants (natural_key) WHERE state <> 'retired';

-- Who signs in after being retired is recognised by the key that the tombstone keeps.
CREATE INDEX users_retired ON users (tenant, natural_key) WHERE state = 'retired';
