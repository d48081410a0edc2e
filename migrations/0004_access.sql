-- Keys for HTTP. A key is shown once, when it is made; what is kept can recognise it and cannot make it again.

create table sexton.api_keys (
    id         uuid primary key,                    -- the part of the key that is no secret
    digest     bytea not null,                      -- SHA-256 of the secret: it is 256 random bits, so no salt adds to it
    name       text not null,                       -- as the audit names whoever comes with it
    tenant     text not null,
    roles      text[] not null,
    dialects   text[] not null,
    rate       integer,                             -- calls a second; null: as the settings say
    burst      integer,
    made_at    timestamptz not null default now(),
    made_by    text not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text
);
create index api_keys_tenant on sexton.api_keys (tenant);
