-- What each role of `roles.sql` may do. Run after each `sexton migrate`, as the owner (the login that migrates), with
-- `psql --single-transaction`; harmless to repeat, since it begins by taking everything away.
--
-- Partitions need no grants: rights are asked of the table that a statement names. New ones are made by
-- `sexton.ensure_partitions`, which acts as its owner, so a worker gets a month that it could not make itself.

do $$
declare
    name text;
begin
    foreach name in array array['public', 'sexton_worker', 'sexton_gateway', 'sexton_operator', 'sexton_reader'] loop
        execute format('revoke all on schema sexton from %s', name);
        execute format('revoke all on all tables in schema sexton from %s', name);
        execute format('revoke all on all sequences in schema sexton from %s', name);
        execute format('revoke all on all functions in schema sexton from %s', name);
    end loop;
end $$;

grant usage on schema sexton to sexton_worker, sexton_gateway, sexton_operator, sexton_reader;

-- ── What is done as the owner: a few closed acts, each of which checks by itself whether it is due ────────────────

alter function sexton.ensure_partitions(integer) security definer set search_path = pg_catalog, pg_temp;
alter function sexton.take_over() security definer set search_path = pg_catalog, pg_temp;
alter function sexton.adopt_page(integer) security definer set search_path = pg_catalog, pg_temp;
-- What a person may say to a deletion, and the way to another version of its plan: with them an operator writes into
-- journals what these functions write, and nothing else.
alter function sexton.signal(uuid, text, text, text) security definer set search_path = pg_catalog, pg_temp;
do $$
declare
    f regprocedure;
begin
    for f in select p.oid from pg_proc p
        where p.pronamespace = 'sexton'::regnamespace and p.proname in ('adopt_plan', 'claim_one', 'release') loop
        execute format('alter function %s security definer set search_path = pg_catalog, pg_temp', f);
        execute format('grant execute on function %s to sexton_operator', f);
    end loop;
end $$;

grant execute on function sexton.ensure_partitions(integer), sexton.take_over(), sexton.adopt_page(integer)
    to sexton_worker, sexton_gateway, sexton_operator;
grant execute on function sexton.signal(uuid, text, text, text) to sexton_operator;
-- By which the journal, and what has ended, are read; they do it with the rights of who asks.
grant execute on function sexton.spelled(json), sexton.day_of(uuid), sexton.uuid_floor(timestamptz),
    sexton.deletion_days(timestamptz), sexton.ended_of(date), sexton.ended(text, text, text, integer, uuid, bigint)
    to sexton_gateway, sexton_operator, sexton_reader;

-- ── The worker: deletions are its own; what is history it appends to, and never changes ───────────────────────────

grant execute on all functions in schema sexton to sexton_worker;
revoke execute on function sexton.signal(uuid, text, text, text) from sexton_worker;
do $$
declare
    f regprocedure;
begin
    for f in select p.oid from pg_proc p
        where p.pronamespace = 'sexton'::regnamespace and p.proname = 'adopt_plan' loop
        execute format('revoke execute on function %s from sexton_worker', f);
    end loop;
end $$;
grant usage on sequence sexton.generation to sexton_worker;
grant select on sexton.migrations, sexton.plans, sexton.workers, sexton.lanes, sexton.requests, sexton.keys,
    sexton.rejections, sexton.open_deletions, sexton.joined, sexton.successors, sexton.deletions, sexton.journal, sexton.journal_pages,
    sexton.windows, sexton.watches, sexton.terms, sexton.signals, sexton.outbox, sexton.batch_deltas, sexton.batches,
    sexton.calls, sexton.shut_systems to sexton_worker;
grant insert on sexton.requests, sexton.joined, sexton.deletions, sexton.journal_pages, sexton.plans to sexton_worker;
grant insert, delete on sexton.keys to sexton_worker;
grant insert, update on sexton.rejections, sexton.terms to sexton_worker;
grant select, insert, update (ids), delete on sexton.claims to sexton_worker;
grant insert, update, delete on sexton.workers, sexton.lanes, sexton.open_deletions, sexton.successors, sexton.windows,
    sexton.watches, sexton.outbox, sexton.batch_deltas, sexton.batches, sexton.shut_systems to sexton_worker;
grant update, delete on sexton.calls to sexton_worker;

-- ── The gateway: it keeps calls and their messages, and reads where they stand ────────────────────────────────────

grant select on sexton.migrations, sexton.plans, sexton.workers, sexton.lanes, sexton.requests, sexton.keys,
    sexton.rejections, sexton.open_deletions, sexton.joined, sexton.successors, sexton.deletions, sexton.journal, sexton.journal_pages,
    sexton.windows, sexton.signals, sexton.batch_deltas, sexton.batches, sexton.calls, sexton.api_keys to sexton_gateway;
grant insert on sexton.calls, sexton.plans, sexton.workers, sexton.lanes to sexton_gateway;
grant update (expires_at) on sexton.workers to sexton_gateway;
-- Of the outbox only the messages of calls, which it publishes itself: it sees no event, and can lose none.
grant select, insert, update, delete on sexton.outbox to sexton_gateway;
alter table sexton.outbox enable row level security;
drop policy if exists calls_only on sexton.outbox;
create policy calls_only on sexton.outbox to sexton_gateway
    using (kind = 'call') with check (kind = 'call' and destination = 'requests');
drop policy if exists all_of_it on sexton.outbox;
create policy all_of_it on sexton.outbox to sexton_worker, sexton_reader, sexton_operator using (true);

-- ── The operator: sees everything, says a word to deletions, makes and revokes keys ───────────────────────────────

grant select on all tables in schema sexton to sexton_operator;
grant insert on sexton.audit, sexton.plans, sexton.workers, sexton.lanes, sexton.api_keys to sexton_operator;
grant update (expires_at) on sexton.workers to sexton_operator;
grant update (retry_at) on sexton.shut_systems to sexton_operator;
grant update (revoked_at, revoked_by) on sexton.api_keys to sexton_operator;

-- ── The reader: everything but what recognises a key ──────────────────────────────────────────────────────────────

grant select on all tables in schema sexton to sexton_reader;
revoke select on sexton.api_keys from sexton_reader;
grant select (id, name, tenant, roles, dialects, rate, burst, made_at, made_by, expires_at, revoked_at, revoked_by)
    on sexton.api_keys to sexton_reader;
