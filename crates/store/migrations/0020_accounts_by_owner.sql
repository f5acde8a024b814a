-- A person's page lists the accounts of that person alone, however many there are.
CREATE INDEX connected_accounts_owner ON connected_accounts (tenant, substr(natural_key, instr(natural_key, ' ') + 1), natural_key) WHERE state <> 'retired';
