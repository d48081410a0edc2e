-- Batches: requests that came as one, with one outcome for the whole.
--
-- What is told of a batch is only appended, in the transaction that makes it true, so that ten thousand requests of one
-- batch have no row that all of them wait for. Somebody folds it, now and then.

create table sexton.batch_deltas (
    id     bigint generated always as identity primary key,
    at     timestamptz not null default now(),
    tenant text not null,
    batch  text not null,
    word   text not null,                           -- known: admitted; else how so many of its requests ended
    n      integer not null,
    size   integer                                  -- how many there will be, as far as the requests say
);

create table sexton.batches (
    tenant       text not null,
    batch        text not null,
    size         integer,
    known        integer not null default 0,        -- admitted or rejected so far
    done         integer not null default 0,        -- of these, those with an outcome
    deleted      integer not null default 0,
    already_gone integer not null default 0,
    absent       integer not null default 0,
    completed_with_orphans integer not null default 0,
    soft_deleted integer not null default 0,
    restored     integer not null default 0,
    cancelled    integer not null default 0,
    refused      integer not null default 0,
    rejected     integer not null default 0,
    first_at     timestamptz not null,
    last_at      timestamptz not null,
    completed_at timestamptz,                       -- said; what comes later opens it again
    sequence     integer not null default 0,        -- how often it was said
    primary key (tenant, batch)
);
create index batches_open on sexton.batches (last_at) where completed_at is null;

-- A page of what was told, into the batches' sums. Safe beside another: pages are disjoint, rows are locked in order.
create function sexton.fold_batches(p_limit integer) returns integer
language plpgsql
as $$
declare
    v_count integer;
begin
    with taken as (
        delete from sexton.batch_deltas d using (
            select id from sexton.batch_deltas order by id limit p_limit for update skip locked
        ) page where d.id = any (array[page.id])
        returning d.*
    ), sums as (
        select tenant, batch, max(size) as size, min(at) as first_at, max(at) as last_at,
               coalesce(sum(n) filter (where word in ('known', 'rejected')), 0) as known,
               coalesce(sum(n) filter (where word <> 'known'), 0) as done,
               coalesce(sum(n) filter (where word = 'deleted'), 0) as deleted,
               coalesce(sum(n) filter (where word = 'already_gone'), 0) as already_gone,
               coalesce(sum(n) filter (where word = 'absent'), 0) as absent,
               coalesce(sum(n) filter (where word = 'completed_with_orphans'), 0) as completed_with_orphans,
               coalesce(sum(n) filter (where word = 'soft_deleted'), 0) as soft_deleted,
               coalesce(sum(n) filter (where word = 'restored'), 0) as restored,
               coalesce(sum(n) filter (where word = 'cancelled'), 0) as cancelled,
               coalesce(sum(n) filter (where word = 'refused'), 0) as refused,
               coalesce(sum(n) filter (where word = 'rejected'), 0) as rejected
        from taken group by tenant, batch
    ), folded as (
        insert into sexton.batches as b (tenant, batch, size, known, done, deleted, already_gone, absent,
            completed_with_orphans, soft_deleted, restored, cancelled, refused, rejected, first_at, last_at)
        select tenant, batch, size, known, done, deleted, already_gone, absent, completed_with_orphans, soft_deleted,
               restored, cancelled, refused, rejected, first_at, last_at
        from sums order by tenant, batch
        on conflict (tenant, batch) do update
        set size = greatest(b.size, excluded.size), known = b.known + excluded.known, done = b.done + excluded.done,
            deleted = b.deleted + excluded.deleted, already_gone = b.already_gone + excluded.already_gone,
            absent = b.absent + excluded.absent,
            completed_with_orphans = b.completed_with_orphans + excluded.completed_with_orphans,
            soft_deleted = b.soft_deleted + excluded.soft_deleted, restored = b.restored + excluded.restored,
            cancelled = b.cancelled + excluded.cancelled, refused = b.refused + excluded.refused,
            rejected = b.rejected + excluded.rejected, last_at = greatest(b.last_at, excluded.last_at),
            completed_at = null
        returning 1
    )
    select count(*) into v_count from taken;
    return v_count;
end $$;

-- Says of batches that are over that they are. One is over when every request that is known of has its outcome and
-- either all that were promised are known, or nobody said how many there would be and none has come for a while, or the
-- rest has not come for so long that it will not.
create function sexton.complete_batches(p_quiet interval, p_patience interval, p_limit integer) returns integer
language plpgsql
as $$
declare
    v_count integer;
begin
    with over as (
        select tenant, batch from sexton.batches b
        where completed_at is null and done >= known
          and (known >= size or (size is null and last_at < now() - p_quiet) or last_at < now() - p_patience)
          -- Something is told that is not folded yet: it may be a request that has no outcome.
          and not exists (select from sexton.batch_deltas d where d.tenant = b.tenant and d.batch = b.batch)
        order by tenant, batch limit p_limit
        for update skip locked
    ), said as (
        update sexton.batches b set completed_at = now(), sequence = b.sequence + 1
        from over where b.tenant = over.tenant and b.batch = over.batch
        returning b.*
    ), told as (
        insert into sexton.outbox (id, destination, kind, seq, tenant, batch, detail, taken_until)
        select gen_random_uuid(), 'events', 'batch.completed', sequence, tenant, batch,
               jsonb_strip_nulls(jsonb_build_object(
                   'size', known, 'missing', nullif(greatest(size - known, 0), 0),
                   'counts', jsonb_strip_nulls(jsonb_build_object(
                       'deleted', nullif(deleted, 0), 'already_gone', nullif(already_gone, 0), 'absent', nullif(absent, 0),
                       'completed_with_orphans', nullif(completed_with_orphans, 0),
                       'soft_deleted', nullif(soft_deleted, 0), 'restored', nullif(restored, 0),
                       'cancelled', nullif(cancelled, 0), 'refused', nullif(refused, 0), 'rejected', nullif(rejected, 0))))),
               now()
        from said
        returning 1
    )
    select count(*) into v_count from told;
    return v_count;
end $$;
