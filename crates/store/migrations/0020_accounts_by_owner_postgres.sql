-- As 0020_accounts_by_owner.sql, with PostgreSQL's own word for the place of a text.
CREATE INDEX connected_accounts_owner ON connected_accounts (tenant, substr(natural_key, strpos(natural_key, ' ') + 1), natural_key) WHERE state <> 'retired';
