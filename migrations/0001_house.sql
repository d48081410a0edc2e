-- Sexton's own tables. The flow reads from the top: plans, who works, requests, deletions, journal, what goes out.
-- Names and their meaning are those of ARCHITECTURE.md; every column that is not plain has a line.

-- It stands already: the list of applied migrations is kept in it.
create schema if not exists sexton;

-- ── Plans ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- Every version of every plan that was ever in force. A deletion names its version by the small number.
create table sexton.plans (
    id            integer generated always as identity primary key,
    hash          text not null unique,             -- SHA-256 of the canonical form, hex
    target_type   text not null,
    canonical     text not null,
    introduced_at timestamptz not null default now()
);

-- ── Who works ───────────────────────────────────────────────────────────────────────────────────────────────────

-- One row a process start. Apart from the fences, so that a heartbeat never waits for a batch.
create table sexton.workers (
    worker     uuid primary key,
    host       text not null,
    pid        integer not null,
    started_at timestamptz not null default now(),
    expires_at timestamptz not null,                -- by this database's clock, nobody else's
    lost_at    timestamptz                          -- set by the takeover; never cleared
) with (fillfactor = 50);

-- The fence: one row a writer connection. Whoever writes locks its row and compares the epoch.
create table sexton.lanes (
    lane          bigint generated always as identity primary key,
    worker        uuid not null,
    epoch         integer not null default 1,       -- raised by a takeover; the old epoch writes nothing more
    generation    bigint not null default 0,        -- raised by every signal for a deletion in flight here
    taken_over_at timestamptz
) with (fillfactor = 50);

-- ── Requests ────────────────────────────────────────────────────────────────────────────────────────────────────

-- Append only. Range-partitioned by id (uuid v7), so old months are dropped and not deleted row by row.
create table sexton.requests (
    id             uuid not null primary key,
    received_at    timestamptz not null default now(),
    action         text not null,
    tenant         text not null,
    target_type    text not null,
    target_id      text not null,
    key            text,
    batch          text,
    requested_by   text,
    reason         text,
    not_before     timestamptz,
    deadline       timestamptz,
    params         jsonb,
    message_id     text,
    correlation_id text,
    traceparent    text,
    tracestate     text,
    deletion_id    uuid not null                    -- the deletion that answers it, also when that is yet to begin
) partition by range (id);

-- Key memory: which request a key means. Looked up across all partitions, so these are few: each has as many days as keys are
-- remembered for, and goes once all of its keys may be forgotten.
create table sexton.keys (
    day        date not null,
    digest     uuid not null,                       -- of tenant and key
    content    uuid not null,                       -- of the canonical request: same key, other content = conflict
    request_id uuid not null,
    primary key (digest, day)
) partition by range (day);

-- What was turned away, with its body, until it has been handed to `deletion.rejected`.
create table sexton.rejections (
    id             uuid primary key,
    received_at    timestamptz not null default now(),
    reason         text not null,
    field          text not null,
    detail         text not null,
    tenant         text,
    target_type    text,
    key            text,
    batch          text,
    message_id     text,
    correlation_id text,
    content_type   text,
    traceparent    text,
    body           bytea                            -- null once it has reached the broker, or came over the bound
);
-- Turned away again after a crash, a request of a batch is counted once.
create index rejections_of_batches on sexton.rejections (tenant, key) where batch is not null;

-- ── Deletions ───────────────────────────────────────────────────────────────────────────────────────────────────

-- Raised for every deletion; its do side is `generation`, its undo side `generation + 1`. Targets compare it, so
-- that a process that wakes up late cannot put back what somebody newer has decided.
create sequence sexton.generation increment by 2 start with 2;

-- Open deletions, and at the same time the slots: one open deletion a target. Small, since what has ended moves out;
-- so claims stay cheap however long some reader holds an old snapshot. Its pages are left mostly empty: a row is written
-- once a record, and a new version that stays on its page touches no index (HOT) and costs a fifth of the WAL. Of such a
-- version Postgres logs what stands between the first byte that differs and the last. So what changes stands last, and a
-- new record before the older ones: each record is logged once, and what stands around it never again.
create table sexton.open_deletions (
    id          uuid primary key,
    tenant      text not null,
    target_type text not null,
    target_id   text not null,
    request_id  uuid not null,
    plan        integer not null,
    fold        uuid not null,                      -- digest of action and params: equal ones may join
    generation  bigint not null default nextval('sexton.generation'),
    admitted_at timestamptz not null default now(),
    deadline    timestamptz,
    lane        bigint,                             -- null: nobody has it
    epoch       integer,
    tenure      integer not null default 1,         -- raised by every claim
    action      "char" not null default 'd',        -- d(elete), r(estore), p(urge): which course of the plan it is
    window_of   uuid,                               -- the soft deletion that a restore or purge is about
    batched     boolean not null default false,     -- one of its requests came in a batch: others' go first
    parked      text,                               -- why a person must look; null: nobody must
    due_at      timestamptz not null,               -- meaningful while nobody has it; kept by its admission: 9999
    unwinding   boolean not null default false,
    starts      smallint not null default 0,        -- claims since the last record
    effect_ms   integer,                            -- hard timeout of the open intent; null: none is open
    seq         integer not null default 0,         -- records in the journal
    records     text not null default ''            -- the newest of them, as `sexton.journal` reads them
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

create unique index open_slot on sexton.open_deletions (tenant, target_type, target_id);
-- Who has a deletion is in no index, so that a claim stays on its page (HOT) as a record does. A claim passes over what others
-- have claimed that fell due in the last half minute; what was kept from its admission on stands at the end of time.
create index open_ready on sexton.open_deletions (plan, due_at) where not batched;
create index open_ready_batched on sexton.open_deletions (plan, due_at) where batched;

-- What each lane took, a row for each transaction in which it took any: that is where to look for what it has. Some of these
-- it has let go of since. Every second or so a row of which it has nothing any more is forgotten, and one of which it has
-- less than half is shortened.
create table sexton.claims (
    lane bigint not null,
    id   bigint generated always as identity,
    ids  uuid[] not null,                           -- of open_deletions
    primary key (lane, id)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
alter table sexton.claims alter column ids set storage main;

-- Requests folded into a deletion beyond the first.
create table sexton.joined (
    deletion_id uuid not null,
    request_id  uuid not null,
    primary key (deletion_id, request_id)
);

-- The one request that waits until the slot is free.
create table sexton.successors (
    blocking    uuid primary key,                   -- the open deletion it waits for
    deletion_id uuid not null unique,               -- the id its own deletion will have
    request_id  uuid not null,
    plan        integer not null,
    fold        uuid not null,
    action      "char" not null default 'd',
    batched     boolean not null default false,
    deadline    timestamptz,
    due_at      timestamptz not null
);

-- The day of a uuid v7, in UTC.
create function sexton.day_of(id uuid) returns date language sql immutable strict parallel safe as $$
    select date '1970-01-01' + (('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 86400000)::integer
$$;

-- What has ended; also the tombstones.
create table sexton.deletions (
    id          uuid not null primary key,
    tenant      text not null,
    target_type text not null,
    target_id   text not null,
    request_id  uuid not null,
    plan        integer not null,
    generation  bigint not null,
    admitted_at timestamptz not null,
    ended_at    timestamptz not null default now(),
    seq         integer not null,
    result      text not null,                      -- deleted, already_gone, absent, or the end's own word
    action      "char" not null default 'd',        -- as in open_deletions
    detail      jsonb not null,
    records     text not null default ''            -- the last of its journal, as in open_deletions
) partition by range (id);

-- By the day of the id, so that what is written now stands on few pages however much has ended before: in an index of targets
-- alone each entry would go to another page, of as many as there are. Who looks for a target looks at each day (`ended`).
create index deletions_target on sexton.deletions (sexton.day_of(id), tenant, target_type, target_id);
-- Those that were open longer than until the next day, so that whoever asks what ended lately finds them without all days.
create index deletions_late on sexton.deletions (tenant, target_type, target_id)
    where sexton.day_of(id) < (ended_at at time zone 'utc')::date - 1;

-- The journal: what was intended and what came of it. A deletion's newest records stand in its own row, the older ones of
-- a long one in pages. Append only.
create table sexton.journal_pages (
    deletion_id uuid not null,
    seq         integer not null,                   -- of the newest record of the page
    admitted_at timestamptz not null,
    records     text not null,
    primary key (deletion_id, seq)
) partition by range (deletion_id);

-- What is written most often is kept short: [i]ntent and the verdicts [d]one and already [g]one of a step and an attempt, and
-- the [e]nd of a deletion that is completed. (deletion/shorthand.rs)
create function sexton.spelled(entry json) returns json language sql immutable strict parallel safe as $$
    select case when json_typeof(entry) <> 'array' then entry
        else case entry ->> 0
            when 'i' then json_build_object('e', 'intent', 'step', entry -> 1, 'attempt', entry -> 2)
            when 'd' then json_build_object('e', 'verdict', 'step', entry -> 1, 'attempt', entry -> 2,
                                            'verdict', json_build_object('is', 'done'))
            when 'g' then json_build_object('e', 'verdict', 'step', entry -> 1, 'attempt', entry -> 2,
                                            'verdict', json_build_object('is', 'already_gone'))
            when 'e' then json_build_object('e', 'ended', 'end',
                                            json_build_object('end', 'completed', 'result', entry -> 1))
            else entry
        end
    end
$$;

-- All of it, a row for each record. Records are JSON with commas between them, the newest first, and each is
-- [tenure, lane, milliseconds since its deletion was admitted, entry, entry …].
create view sexton.journal as
select j.deletion_id, (j.seq - r.place + 1)::integer as seq, (r.record ->> 0)::integer as tenure,
       (r.record ->> 1)::bigint as lane, j.admitted_at + (r.record ->> 2)::bigint * interval '1 millisecond' as at,
       (select json_agg(sexton.spelled(e.entry) order by e.place)
        from json_array_elements(r.record) with ordinality e (entry, place) where e.place > 3) as entries
from (
    select id, seq, admitted_at, records from sexton.open_deletions
    union all
    select id, seq, admitted_at, records from sexton.deletions
    union all
    select deletion_id, seq, admitted_at, records from sexton.journal_pages
) j (deletion_id, seq, admitted_at, records)
cross join lateral json_array_elements(('[' || j.records || ']')::json) with ordinality r (record, place);

-- ── After the end ───────────────────────────────────────────────────────────────────────────────────────────────

-- Soft deletions that are neither taken back nor ended yet. Whoever has the target's slot has its window too, so that of
-- a restore and a purge that race one finds the other. What is restored or erased leaves.
create table sexton.windows (
    deletion_id uuid primary key,                   -- the soft deletion
    tenant      text not null,
    target_type text not null,
    target_id   text not null,
    plan        integer not null,                   -- what it did is taken back, or ended, under the same version
    params      jsonb,                              -- and with the same params
    until       timestamptz not null,               -- it can be taken back before this
    due_at      timestamptz not null,               -- when the scheduler next asks for its purge
    ticket      uuid not null default gen_random_uuid(), -- by which admission knows Sexton's own purge
    round       integer not null default 1,         -- a purge that erased nothing is followed by one under another key
    taken_by    uuid                                -- the restore or purge that has it
);
create unique index windows_target on sexton.windows (tenant, target_type, target_id);
create index windows_due on sexton.windows (due_at) where taken_by is null;

-- Ended deletions whose targets are looked up again for a while: late writers bring back what was deleted.
create table sexton.watches (
    deletion_id uuid primary key,
    request_id  uuid not null,
    tenant      text not null,
    target_type text not null,
    target_id   text not null,
    plan        integer not null,
    params      jsonb,
    until       timestamptz not null,
    look_at     timestamptz not null,               -- the next look
    every_ms    integer not null,                   -- between two looks
    reappeared  integer not null default 0          -- how often it was found there again
);
create unique index watches_target on sexton.watches (tenant, target_type, target_id);
create index watches_due on sexton.watches (look_at);

-- Who does what only one may do. A term that has run out ends by being taken, never by being written under.
create table sexton.terms (
    role        text primary key,
    term        bigint not null,                    -- raised whenever it changes hands
    holder      uuid not null,
    until       timestamptz not null                -- by this database's clock
);

-- People and policies speak here; they never write deletions.
create table sexton.signals (
    id          bigint generated always as identity primary key,
    deletion_id uuid not null,
    kind        text not null,
    said_by     text not null,
    reason      text,
    at          timestamptz not null default now()
);
create index signals_deletion on sexton.signals (deletion_id);

-- Who did what from outside, for the auditor.
create table sexton.audit (
    id          bigint generated always as identity primary key,
    at          timestamptz not null default now(),
    said_by     text not null,
    action      text not null,
    deletion_id uuid,
    detail      jsonb not null default '{}'
);

-- ── What goes out ───────────────────────────────────────────────────────────────────────────────────────────────

-- A row knows where it goes; what it says is composed from rows that never change, so every publish is the same.
create table sexton.outbox (
    id           uuid primary key,
    destination  text not null,                     -- events, rejected, requests
    kind         text not null,                     -- the event's word
    request_id   uuid,
    rejection_id uuid,
    deletion_id  uuid,
    plan         integer,                           -- as it was then: a later adoption changes no event
    seq          integer,
    tenant       text,                              -- of a batch; a request's and a rejection's are with them
    batch        text,
    detail       jsonb,
    at           timestamptz not null default now(),
    taken_until  timestamptz not null               -- somebody is publishing it until then; then the sweep may
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- ── Partitions ──────────────────────────────────────────────────────────────────────────────────────────────────

-- The smallest uuid v7 of a moment.
create function sexton.uuid_floor(at timestamptz) returns uuid language sql immutable strict as $$
    select (lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;

-- The days of which there are ended deletions, newest first; those of the time before are left out, but for the day before it, of
-- which some ended later.
create function sexton.deletion_days(p_since timestamptz) returns setof date language sql stable as $$
    select newest - n
    from (select sexton.day_of((select id from sexton.deletions order by id desc limit 1)),
                 sexton.day_of((select id from sexton.deletions order by id limit 1))) d (newest, oldest)
    cross join generate_series(0, newest - greatest(oldest, (p_since at time zone 'utc')::date - 1)) n
    order by n
$$;

-- What has ended of those whose id is of this day; whoever asks for a target as well is led by the index.
create function sexton.ended_of(p_day date) returns setof sexton.deletions language sql stable as $$
    select d.* from sexton.deletions d
    where sexton.day_of(d.id) = p_day
      and d.id >= sexton.uuid_floor(p_day::timestamp at time zone 'utc')
      and d.id < sexton.uuid_floor((p_day + 1)::timestamp at time zone 'utc')
$$;

-- The newest that have ended, of all that fit; null fits any. Day by day, until there are enough. Planned each time: how many
-- a tenant has decides whether its own or the newest are looked through.
create function sexton.ended(
    p_tenant text,
    p_type text,
    p_target text,
    p_plan integer,
    p_before uuid,
    p_limit bigint
) returns setof sexton.deletions language plpgsql stable set plan_cache_mode = force_custom_plan as $$
declare
    v_day date;
    v_left bigint := p_limit;
    v_found bigint;
begin
    for v_day in select d from sexton.deletion_days(null) d where p_before is null or d <= sexton.day_of(p_before) loop
        return query
        select d.* from sexton.ended_of(v_day) d
        where (p_tenant is null or d.tenant = p_tenant) and (p_type is null or d.target_type = p_type)
          and (p_target is null or d.target_id = p_target) and (p_plan is null or d.plan = p_plan)
          and (p_before is null or d.id < p_before)
        order by d.id desc limit v_left;
        get diagnostics v_found = row_count;
        v_left := v_left - v_found;
        exit when v_left <= 0;
    end loop;
end $$;

-- Makes what is missing from one month back (clocks differ) to two months ahead, and for keys from yesterday to the day after
-- tomorrow at least. Harmless to repeat; run at migration and by every worker once in a while. Partitions of keys say in their
-- names from which day they are, and before which; those that ended before the key memory begins are dropped.
create function sexton.ensure_partitions(p_key_days integer) returns void language plpgsql as $$
declare
    parent text;
    low timestamptz;
    today date := (now() at time zone 'utc')::date;
    day date;
    until date;
begin
    -- Two workers that start in the same moment must not both make one.
    perform pg_advisory_xact_lock(hashtext('sexton.ensure_partitions'));
    foreach parent in array array['requests', 'deletions', 'journal_pages'] loop
        for n in -1..2 loop
            low := date_trunc('month', now() at time zone 'utc') at time zone 'utc' + make_interval(months => n);
            if to_regclass(format('sexton.%s_%s', parent, to_char(low at time zone 'utc', 'YYYYMM'))) is null then
                execute format(
                    'create table sexton.%I partition of sexton.%I for values from (%L) to (%L)',
                    parent || '_' || to_char(low at time zone 'utc', 'YYYYMM'), parent,
                    sexton.uuid_floor(low), sexton.uuid_floor(low + interval '1 month'));
            end if;
        end loop;
    end loop;
    -- By their names as text, which any name is: the planner may ask it of every table before it asks whose part it is.
    select max(right(c.relname, 8)) into until from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'sexton.keys'::regclass;
    until := greatest(until, today - 1);
    while until < today + 3 loop
        day := until;
        until := day + p_key_days;
        execute format('create table sexton.%I partition of sexton.keys for values from (%L) to (%L)',
            'keys_' || to_char(day, 'YYYYMMDD') || '_' || to_char(until, 'YYYYMMDD'), day, until);
    end loop;
    for parent in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'sexton.keys'::regclass and right(c.relname, 8) <= to_char(today - p_key_days, 'YYYYMMDD')
    loop
        execute format('drop table sexton.%I', parent);
    end loop;
end $$;

select sexton.ensure_partitions(7);
