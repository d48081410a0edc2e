-- The guarded writes. Each function is one round trip and one transaction, and begins with the fence: the row is
-- locked and compared in a statement of its own, since only a *later* statement sees what was committed meanwhile.
--
-- Rows are looked up by `id = any (array[wanted])` and not by `id = wanted`: each by the index, one after the other. By an equality
-- the planner may go the other way round, from a table that it believes to be empty (an analyze came when it was) through the
-- whole of its index, and compare each row with each that is wanted; no `enable_…` keeps it from that.

-- The records of a deletion with one more before them, as `sexton.journal` reads them: text, but only what jsonb would take as
-- well, so that whoever asks may cast it: of what a writer sends, all but an escaped NUL. Only what has one is parsed to tell.
create function sexton.with_record(tenure integer, lane bigint, admitted_at timestamptz, entries text, records text)
returns text language sql stable as $$
    select case when strpos(entries, '\u0000') = 0 or ('[0' || entries || ']')::jsonb is not null then '[' end
        || tenure || ',' || lane || ',' || (date_part('epoch', now() - admitted_at) * 1000)::bigint || entries || ']'
        || case when records = '' then '' else ',' || records end
$$;

-- The row is as its writer believes: claimed by nobody since, no record later, and in this lane.
create function sexton.is_ours(
    tenure integer, seq integer, lane bigint, epoch integer,
    p_tenure integer, p_seq integer, p_lane bigint, p_epoch integer
) returns boolean language sql immutable as $$
    select tenure = p_tenure and seq = p_seq
        and lane = p_lane and epoch = p_epoch
$$;

-- Nested loops over the primary key, in the order of the input: the fastest plan at every size, and the one order of locks.
create function sexton.write_records(
    p_lane bigint,
    p_epoch integer,
    p_generation bigint,
    p_ids uuid[],                -- sorted
    p_tenures integer[],
    p_seqs integer[],            -- records that the writer knows of
    p_entries text[],            -- as `sexton.journal` keeps them, each behind a comma
    p_due timestamptz[],         -- null: the lane keeps it; else nobody has it until then
    p_effect_ms integer[],       -- hard timeout of an intent in this record
    p_unwinding boolean[],
    p_parked text[],
    p_result text[],             -- not null: it ends
    p_until timestamptz[],       -- of an end after which there is more to do: its window's, or its watch's
    p_looks integer[],           -- ms between two looks of the watch
    p_detail text[],             -- of the end or the announcement
    p_announce text[],           -- not null: the event's word
    p_events uuid[],             -- id of that event
    p_at timestamptz             -- by the writer's clock: what it publishes from memory is what a sweep would publish
) returns table (
    said text,                   -- applied, lost or signalled
    generation bigint,           -- the lane's, if it was signalled; else 0
    written uuid[],              -- if it was applied: null for all of them
    more_events boolean          -- and whether the outbox holds more than the writer knows of
)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_generation bigint;
    v_written uuid[];
    v_long uuid[];
    v_ended uuid[];
    v_announced uuid[];
    v_events uuid[];             -- and the event of each
    v_said bigint := 0;          -- ends that are spoken of
    v_more bigint := 0;          -- events of those that were folded in
    v_kept uuid[];               -- that ended, and about which there is more to do
    v_untils timestamptz[];
    v_looks integer[];
    v_windows uuid[];            -- that ended restores and purges were about
    v_of uuid[];                 -- and those
    v_soft uuid[];
    v_watched uuid[];
    v_batched uuid[];
begin
    select l.generation into v_generation from sexton.lanes l
    where l.lane = p_lane and l.epoch = p_epoch for no key update;
    if not found then
        return query select 'lost'::text, 0::bigint, null::uuid[], false;
        return;
    end if;
    if v_generation <> p_generation then
        return query select 'signalled'::text, v_generation, null::uuid[], false;
        return;
    end if;

    with written as (
        update sexton.open_deletions d
        set lane = case when i.due is null then d.lane end,
            epoch = case when i.due is null then d.epoch end,
            parked = i.parked,
            -- Unchanged while the lane keeps it, so that the update stays on its page (HOT) and touches no index.
            -- A deadline that came nearer meanwhile, by a request that was folded in, is not slept through.
            due_at = case when i.due is null then d.due_at
                          when d.deadline > now() and i.due < '9999-01-01' and i.effect_ms is null
                              then least(greatest(i.due, now()), d.deadline)
                          else greatest(i.due, now()) end,
            unwinding = i.unwinding,
            starts = 0,
            effect_ms = i.effect_ms,
            seq = d.seq + 1,
            records = sexton.with_record(d.tenure, p_lane, d.admitted_at, i.entries, d.records)
        from unnest(p_ids, p_tenures, p_seqs, p_entries, p_due, p_effect_ms, p_unwinding, p_parked, p_result)
            as i (id, tenure, seq, entries, due, effect_ms, unwinding, parked, result)
        where i.result is null and d.id = any (array[i.id])
          and sexton.is_ours(d.tenure, d.seq, d.lane, d.epoch, i.tenure, i.seq, p_lane, p_epoch)
        returning d.id, octet_length(d.records) > 1000 as is_long
    )
    select array_agg(w.id), array_agg(w.id) filter (where w.is_long) into v_written, v_long from written w;

    if cardinality(array_remove(p_result, null)) > 0 then
        with ended as (
            delete from sexton.open_deletions d
            using unnest(p_ids, p_tenures, p_seqs, p_entries, p_result, p_until, p_looks, p_detail, p_announce, p_events)
                as i (id, tenure, seq, entries, result, until, looks, detail, announce, event)
            where i.result is not null and d.id = any (array[i.id])
              and sexton.is_ours(d.tenure, d.seq, d.lane, d.epoch, i.tenure, i.seq, p_lane, p_epoch)
            returning d.*, i.entries, i.result, i.until, i.looks, i.detail::jsonb as detail, i.announce, i.event
        ), moved as (
            insert into sexton.deletions (id, tenant, target_type, target_id, request_id, plan, generation,
                                          admitted_at, seq, result, action, detail, records)
            select e.id, e.tenant, e.target_type, e.target_id, e.request_id, e.plan, e.generation,
                   e.admitted_at, e.seq + 1, e.result, e.action, e.detail,
                   sexton.with_record(e.tenure, p_lane, e.admitted_at, e.entries, e.records)
            from ended e
        ), announced as (
            -- The writer publishes it from memory.
            insert into sexton.outbox (id, destination, kind, request_id, deletion_id, plan, seq, detail, at, taken_until)
            select e.event, 'events', e.announce, e.request_id, e.id, e.plan, e.seq + 1, e.detail, p_at,
                   now() + interval '15 seconds'
            from ended e where e.announce is not null
        )
        -- What the later statements need comes out here, from the guarded write itself and side by side: joined to the
        -- input again, each would compare every id with every other.
        select array_agg(e.id), array_agg(e.event), count(e.announce), array_agg(e.id) filter (where e.until is not null),
               array_agg(e.until) filter (where e.until is not null), array_agg(e.looks) filter (where e.until is not null),
               array_agg(e.window_of) filter (where e.window_of is not null),
               array_agg(e.id) filter (where e.window_of is not null),
               array_agg(e.id) filter (where e.until is not null and e.result = 'soft_deleted'),
               array_agg(e.id) filter (where e.until is not null and e.result <> 'soft_deleted'),
               array_agg(e.id) filter (where e.batched)
        into v_ended, v_events, v_said, v_kept, v_untils, v_looks, v_windows, v_of, v_soft, v_watched, v_batched
        from ended e;
    end if;
    v_announced := v_ended;
    -- Of those that go on, few are spoken of.
    if cardinality(array_remove(p_announce, null)) > v_said then
        with announced as (
            insert into sexton.outbox (id, destination, kind, request_id, deletion_id, plan, seq, detail, at, taken_until)
            select i.event, 'events', i.announce, d.request_id, d.id, d.plan, d.seq, i.detail::jsonb, p_at,
                   now() + interval '15 seconds'
            from unnest(p_ids, p_announce, p_detail, p_events) as i (id, announce, detail, event)
            join sexton.open_deletions d on d.id = any (array[i.id])
            where i.announce is not null and i.id = any (v_written)
            returning deletion_id, id
        )
        select v_announced || array_agg(a.deletion_id), v_events || array_agg(a.id) into v_announced, v_events from announced a;
    end if;
    -- Whoever was folded in hears the same, from the sweep, at once. A statement of its own: it must see every request that was
    -- folded in before the row was locked above.
    if v_announced is not null then
        insert into sexton.outbox (id, destination, kind, request_id, deletion_id, plan, seq, detail, at, taken_until)
        select gen_random_uuid(), o.destination, o.kind, j.request_id, o.deletion_id, o.plan, o.seq, o.detail, o.at, now()
        from unnest(v_announced, v_events) as i (id, event)
        -- `offset 0` has the same effect as `any`.
        cross join lateral (select j.request_id from sexton.joined j where j.deletion_id = i.id offset 0) j
        cross join lateral (select o.* from sexton.outbox o where o.id = i.event offset 0) o;
        get diagnostics v_more = row_count;
    end if;

    -- A long journal turns its page: what is written again and again stays small.
    if v_long is not null then
        insert into sexton.journal_pages (deletion_id, seq, admitted_at, records)
        select d.id, d.seq, d.admitted_at, d.records from sexton.open_deletions d where d.id = any (v_long);
        update sexton.open_deletions d set records = '' where d.id = any (v_long);
    end if;

    if v_ended is not null then
        if v_batched is not null then
            insert into sexton.batch_deltas (tenant, batch, word, n)
            select r.tenant, r.batch, d.result, count(*)
            from unnest(v_batched) b
            join sexton.deletions d on d.id = any (array[b])
            cross join lateral (
                select d.request_id union all select j.request_id from sexton.joined j where j.deletion_id = d.id
            ) q
            join sexton.requests r on r.id = any (array[q.request_id])
            where r.batch is not null
            group by 1, 2, 3 order by 1, 2, 3;
        end if;
        if v_soft is not null or v_watched is not null or v_windows is not null then
            perform sexton.after_ends(v_soft, v_watched, v_windows, v_of, v_kept, v_untils, v_looks);
        end if;

        -- Whoever waited for the slot has it now; a restore, what this end left to be taken back.
        with freed as (
            delete from sexton.successors s using unnest(v_ended) e where s.blocking = any (array[e]) returning s.*
        ), begun as (
            insert into sexton.open_deletions (id, tenant, target_type, target_id, request_id, plan, fold, deadline, due_at,
                                               action, window_of, batched)
            select f.deletion_id, d.tenant, d.target_type, d.target_id, f.request_id,
                   case when f.action = 'd' then f.plan else coalesce(w.plan, d.plan) end, f.fold, f.deadline,
                   greatest(f.due_at, now()), f.action, w.deletion_id, f.batched
            from freed f
            join sexton.deletions d on d.id = any (array[f.blocking])
            left join lateral (
                select w.deletion_id, w.plan from sexton.windows w
                where w.tenant = d.tenant and w.target_type = d.target_type and w.target_id = d.target_id
                  and w.taken_by is null and w.until > now() offset 0
            ) w on f.action = 'r'
            returning id, window_of
        )
        update sexton.windows w set taken_by = b.id from begun b
        where w.deletion_id = any (array[b.window_of]);
    end if;

    v_written := coalesce(v_written, '{}') || v_ended;
    return query select 'applied'::text, 0::bigint,
                        case when cardinality(v_written) < cardinality(p_ids) then v_written end, v_more > 0;
end $$;

-- What follows the ends of one batch, which still holds the slots of their targets: whatever may be restored or erased is
-- kept in a window, whatever a late writer may bring back is watched, and a restore or purge lets its window go.
create function sexton.after_ends(
    p_soft uuid[],
    p_watched uuid[],
    p_windows uuid[],
    p_of uuid[],                 -- the restores and purges, as the windows before
    p_ids uuid[], p_untils timestamptz[], p_looks integer[]
) returns void
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
begin
    if p_watched is not null then
        insert into sexton.watches (deletion_id, request_id, tenant, target_type, target_id, plan, params, until,
                                    look_at, every_ms)
        select d.id, d.request_id, d.tenant, d.target_type, d.target_id, d.plan,
               coalesce(w.params, r.params), i.until, now() + make_interval(secs => i.looks / 1000.0), i.looks
        from unnest(p_watched) s
        join unnest(p_ids, p_untils, p_looks) i (id, until, looks) on i.id = s
        join sexton.deletions d on d.id = any (array[s])
        left join sexton.requests r on r.id = any (array[d.request_id])
        -- A purge has the params of what it ends.
        left join unnest(p_windows, p_of) x (window_of, id) on x.id = s
        left join sexton.windows w on w.deletion_id = any (array[x.window_of])
        -- Deleted again while it was watched: from here on it is this deletion that is watched.
        on conflict (tenant, target_type, target_id) do update
        set deletion_id = excluded.deletion_id, request_id = excluded.request_id, plan = excluded.plan,
            params = excluded.params, until = excluded.until, look_at = excluded.look_at, every_ms = excluded.every_ms;
    end if;
    if p_windows is not null then
        delete from sexton.windows w using unnest(p_windows, p_of) i (window_of, id), sexton.deletions d
        where w.deletion_id = any (array[i.window_of]) and d.id = any (array[i.id])
          and d.result in ('restored', 'deleted', 'already_gone', 'completed_with_orphans');
        -- Cancelled or refused: it stands as before, and its purge is asked for again under another key.
        update sexton.windows w
        set taken_by = null, round = w.round + 1, due_at = greatest(w.until, now() + interval '5 minutes')
        from unnest(p_windows) i where w.deletion_id = any (array[i]);
    end if;
    if p_soft is not null then
        insert into sexton.windows (deletion_id, tenant, target_type, target_id, plan, params, until, due_at)
        select d.id, d.tenant, d.target_type, d.target_id, d.plan, r.params, i.until, i.until
        from unnest(p_soft) s
        join unnest(p_ids, p_untils) i (id, until) on i.id = s
        join sexton.deletions d on d.id = any (array[s])
        left join sexton.requests r on r.id = any (array[d.request_id])
        -- Somebody took the last one back without a word to us; it is this one that counts now.
        on conflict (tenant, target_type, target_id) do update
        set deletion_id = excluded.deletion_id, plan = excluded.plan, params = excluded.params, until = excluded.until,
            due_at = excluded.due_at, ticket = excluded.ticket, round = 1, taken_by = null;
    end if;
end $$;

-- An admission of nothing but new deletions, in one round trip: as a rule no key was here before and no slot is taken. Where
-- one was or is, nothing is written, and the caller goes the long way (store/admit.rs), which can tell what each request is.
-- The order of locks is that of the long way: the fence, keys by digest, slots by target.
create function sexton.admit_new(
    p_lane bigint,
    p_epoch integer,
    p_at timestamptz,
    p_overlap_s double precision, -- a key of around midnight is kept under both days
    p_requests uuid[],           -- in the order of their targets, each of another target
    p_deletions uuid[],
    p_tenants text[],
    p_types text[],
    p_targets text[],
    p_keys text[],
    p_digests uuid[],            -- null without a key; each another
    p_contents uuid[],
    p_plans integer[],
    p_folds uuid[],
    p_deadlines timestamptz[],
    p_not_before timestamptz[],
    p_kept boolean[],
    p_requested_by text[],
    p_reasons text[],
    p_params text[],
    p_message_ids text[],
    p_correlation_ids text[],
    p_traceparents text[],
    p_tracestates text[],
    p_entries text[],            -- of its first record, as those of `write_records`, where it has one already
    p_effect_ms integer[]
) returns table (said text, id uuid, generation bigint)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_digests uuid[] := array_remove(p_digests, null);
    v_days date[] := array[(now() at time zone 'utc')::date];
    v_before date := ((now() - make_interval(secs => p_overlap_s)) at time zone 'utc')::date;
    v_count bigint;
    v_begun uuid[];
    v_generations bigint[];
begin
    perform from sexton.lanes l where l.lane = p_lane and l.epoch = p_epoch for no key update;
    if not found then
        return query select 'gone'::text, null::uuid, null::bigint;
        return;
    end if;
    if exists (select from sexton.keys k where k.digest = any (v_digests)) then
        return query select 'not_new'::text, null::uuid, null::bigint;
        return;
    end if;
    if v_before <> v_days[1] then
        v_days := v_days || v_before;
    end if;
    insert into sexton.keys (day, digest, content, request_id)
    select d.day, i.digest, i.content, i.request
    from unnest(p_digests, p_contents, p_requests) as i (digest, content, request) cross join unnest(v_days) as d (day)
    where i.digest is not null
    order by i.digest, d.day
    on conflict do nothing;
    get diagnostics v_count = row_count;
    if v_count < cardinality(v_digests) * cardinality(v_days) then
        raise 'another admission has one of these keys' using errcode = 'SX001';
    end if;

    with begun as (
        insert into sexton.open_deletions
            (id, tenant, target_type, target_id, request_id, plan, fold, deadline, due_at, lane, epoch, admitted_at,
             seq, effect_ms, records)
        select i.id, i.tenant, i.target_type, i.target_id, i.request, i.plan, i.fold, i.deadline,
               case when i.kept then '9999-01-01' else greatest(coalesce(i.not_before, p_at), p_at) end,
               case when i.kept then p_lane end, case when i.kept then p_epoch end, p_at,
               case when i.entries is null then 0 else 1 end, i.effect_ms,
               case when i.entries is null then '' else sexton.with_record(1, p_lane, p_at, i.entries, '') end
        from unnest(p_deletions, p_tenants, p_types, p_targets, p_requests, p_plans, p_folds, p_deadlines, p_not_before, p_kept,
                    p_entries, p_effect_ms)
            with ordinality
            as i (id, tenant, target_type, target_id, request, plan, fold, deadline, not_before, kept, entries, effect_ms,
                  place)
        order by i.place
        on conflict (tenant, target_type, target_id) do nothing
        returning id, generation
    )
    select array_agg(b.id), array_agg(b.generation) into v_begun, v_generations from begun b;
    if coalesce(cardinality(v_begun), 0) < cardinality(p_deletions) then
        raise 'one of these targets has an open deletion' using errcode = 'SX001';
    end if;
    insert into sexton.claims (lane, ids)
    select p_lane, array_agg(i.id) from unnest(p_deletions, p_kept) as i (id, kept) where i.kept having count(*) > 0;

    insert into sexton.requests
        (id, received_at, action, tenant, target_type, target_id, key, requested_by, reason, not_before, deadline, params,
         message_id, correlation_id, traceparent, tracestate, deletion_id)
    select i.id, p_at, 'delete', i.tenant, i.target_type, i.target_id, i.key, i.requested_by, i.reason, i.not_before,
           i.deadline, i.params::jsonb, i.message_id, i.correlation_id, i.traceparent, i.tracestate, i.deletion
    from unnest(p_requests, p_tenants, p_types, p_targets, p_keys, p_requested_by, p_reasons, p_not_before, p_deadlines,
                p_params, p_message_ids, p_correlation_ids, p_traceparents, p_tracestates, p_deletions)
        as i (id, tenant, target_type, target_id, key, requested_by, reason, not_before, deadline, params, message_id,
              correlation_id, traceparent, tracestate, deletion);
    return query select 'begun'::text, b.id, b.generation from unnest(v_begun, v_generations) as b (id, generation);
end $$;

-- Takes what is due and nobody has, at most `p_limit`, of the plans this worker can carry out.
-- `p_since` and `p_since_batched` keep the scan off rows that an earlier one has passed already: what it took stands there until
-- its end, and then as a dead entry, which pile up under a long backlog or a long-held snapshot. Now and then the caller passes
-- '-infinity' and looks at everything.
create function sexton.claim(
    p_lane bigint,
    p_epoch integer,
    p_plans integer[],
    p_since timestamptz,
    p_since_batched timestamptz,
    p_limit integer,
    p_batched integer            -- of which so many may be of batches
) returns table (
    said text, id uuid, tenant text, target_type text, target_id text, request_id uuid, plan integer,
    generation bigint, admitted_at timestamptz, deadline timestamptz, tenure integer, seq integer, starts smallint,
    action text, window_of uuid, records text, due_at timestamptz, batched boolean
)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
    perform 1 from sexton.lanes l where l.lane = p_lane and l.epoch = p_epoch for no key update;
    if not found then
        return query select 'lost'::text, null::uuid, null::text, null::text, null::text, null::uuid, null::integer,
            null::bigint, null::timestamptz, null::timestamptz, null::integer, null::integer, null::smallint, null::text,
            null::uuid, null::text, null::timestamptz, null::boolean;
        return;
    end if;
    return query
    -- Materialized, or the planner may run the scan again for the join and take more than the limit.
    with batched as materialized (
        select r.id, row_number() over (order by r.due_at) as place
        from unnest(p_plans) p
        cross join lateral (
            select o.id, o.due_at from sexton.open_deletions o
            where o.plan = p and o.lane is null and o.batched and o.due_at <= now() and o.due_at >= p_since_batched
            order by o.due_at
            limit p_batched
            for update skip locked
        ) r
    ), share as materialized (
        -- A quarter is for batches, if there are any: theirs are many, and they shall end one day too.
        select p_limit - least(p_limit / 4, count(*)) as single, least(count(*), p_batched) as batched from batched
    ), single as materialized (
        select r.id, row_number() over (order by r.due_at) as place
        from unnest(p_plans) p
        cross join lateral (
            select o.id, o.due_at from sexton.open_deletions o
            where o.plan = p and o.lane is null and not o.batched and o.due_at <= now() and o.due_at >= p_since
            order by o.due_at
            limit (select share.single from share)
            for update skip locked
        ) r
    ), ready as materialized (
        select s.id from single s, share where s.place <= share.single
        union all
        select b.id from batched b, share
        where b.place <= least(share.batched,
                               p_limit - least(share.single, (select count(*) from single)))
    ), taken as (
        update sexton.open_deletions d
        set lane = p_lane, epoch = p_epoch, tenure = d.tenure + 1, starts = d.starts + 1
        from ready where d.id = any (array[ready.id]) and d.lane is null
        returning d.*
    ), noted as (
        insert into sexton.claims (lane, ids) select p_lane, array_agg(t.id) from taken t having count(*) > 0
    )
    select 'taken'::text, t.id, t.tenant, t.target_type, t.target_id, t.request_id, t.plan, t.generation,
           t.admitted_at, t.deadline, t.tenure, t.seq, t.starts, t.action::text, t.window_of, t.records, t.due_at, t.batched
    from taken t;
end $$;

-- Takes one parked deletion that nobody has, for an operator's own lane: the same fence, the same tenure, no plan
-- asked for, since nothing is carried out. An open intent is never taken this way; its hard timeout must pass first.
create function sexton.claim_one(
    p_lane bigint,
    p_epoch integer,
    p_id uuid
) returns table (
    said text, id uuid, tenant text, target_type text, target_id text, request_id uuid, plan integer,
    generation bigint, admitted_at timestamptz, deadline timestamptz, tenure integer, seq integer, starts smallint,
    action text, window_of uuid, records text
)
language plpgsql
as $$
#variable_conflict use_column
begin
    perform 1 from sexton.lanes l where l.lane = p_lane and l.epoch = p_epoch for no key update;
    if not found then
        return query select 'lost'::text, null::uuid, null::text, null::text, null::text, null::uuid, null::integer,
            null::bigint, null::timestamptz, null::timestamptz, null::integer, null::integer, null::smallint, null::text,
            null::uuid, null::text;
        return;
    end if;
    return query
    with taken as (
        update sexton.open_deletions d
        set lane = p_lane, epoch = p_epoch, tenure = d.tenure + 1, starts = d.starts + 1
        where d.id = p_id and d.lane is null and d.parked is not null and d.effect_ms is null
        returning d.*
    ), noted as (
        insert into sexton.claims (lane, ids) select p_lane, array[t.id] from taken t
    )
    select 'taken'::text, t.id, t.tenant, t.target_type, t.target_id, t.request_id, t.plan, t.generation,
           t.admitted_at, t.deadline, t.tenure, t.seq, t.starts, t.action::text, t.window_of, t.records
    from taken t;
end $$;

-- Moves a deletion that this lane has to another version of its plan: the guarded write of one record, and in the same
-- transaction the plan's number and the audit. Afterwards nobody has it, and it is due.
create function sexton.adopt_plan(
    p_lane bigint,
    p_epoch integer,
    p_generation bigint,
    p_id uuid,
    p_tenure integer,
    p_seq integer,
    p_entries text,
    p_plan integer,
    p_event uuid,
    p_at timestamptz,
    p_by text,
    p_reason text
) returns table (said text, number bigint)
language plpgsql
as $$
declare
    v_said text;
    v_number bigint;
    v_from integer;
begin
    select w.said, w.generation into v_said, v_number
    from sexton.write_records(
        p_lane, p_epoch, p_generation, array[p_id], array[p_tenure], array[p_seq], array[p_entries], array[now()],
        array[null::integer], array[false], array[null::text], array[null::text], array[null::timestamptz],
        array[null::integer], array['{}'], array['resumed'],
        array[p_event], p_at) w
    -- Else it is not ours any more.
    where w.written is null;
    if not found then
        return query select 'lost'::text, 0::bigint;
        return;
    elsif v_said <> 'applied' then
        return query select v_said, v_number;
        return;
    end if;
    select d.plan into v_from from sexton.open_deletions d where d.id = p_id;
    update sexton.open_deletions d set plan = p_plan where d.id = p_id;
    -- Nobody publishes this one from memory; and what it tells of is the new version.
    update sexton.outbox o set taken_until = now(), plan = p_plan where o.id = p_event;
    insert into sexton.audit (said_by, action, deletion_id, detail)
    select p_by, 'adopt', p_id, jsonb_strip_nulls(jsonb_build_object(
        'reason', p_reason,
        'from', (select hash from sexton.plans where id = v_from),
        'to', (select hash from sexton.plans where id = p_plan)));
    perform pg_notify('sexton_wake', '');
    return query select 'applied'::text, 0::bigint;
end $$;

-- Hands back what a lane has, with nothing to record: it is waiting for somebody's word, or has not begun. Refused
-- like an intent when somebody has signalled, or their word would wait until the deletion falls due.
create function sexton.release(
    p_lane bigint, p_epoch integer, p_generation bigint, p_ids uuid[], p_tenures integer[], p_due timestamptz[],
    p_fault boolean[]           -- given up, not at rest: the start goes on counting
) returns table (said text, number bigint)
language plpgsql
as $$
declare
    v_generation bigint;
begin
    select l.generation into v_generation from sexton.lanes l
    where l.lane = p_lane and l.epoch = p_epoch for no key update;
    if not found then
        return query select 'lost'::text, 0::bigint;
        return;
    end if;
    if v_generation <> p_generation then
        return query select 'signalled'::text, v_generation;
        return;
    end if;
    update sexton.open_deletions d
    set lane = null, epoch = null,
        due_at = case
            -- Given up with an open intent: its effect may still be under way.
            when i.fault and d.effect_ms is not null then now() + make_interval(secs => d.effect_ms / 1000.0)
            when d.deadline > now() and i.due < '9999-01-01' then least(greatest(i.due, now()), d.deadline)
            else greatest(i.due, now()) end,
        starts = case when i.fault then d.starts else 0 end
    from unnest(p_ids, p_tenures, p_due, p_fault) as i (id, tenure, due, fault)
    where d.id = any (array[i.id]) and d.tenure = i.tenure and d.lane = p_lane and d.epoch = p_epoch;
    return query select 'applied'::text, 0::bigint;
end $$;

-- A signal is heard by whoever has the deletion, or wakes it if nobody has. The fence comes before the row, as
-- everywhere; if the deletion changed hands in between, the answer is 'moved' and the caller asks again.
create function sexton.signal(p_deletion uuid, p_kind text, p_by text, p_reason text) returns text
language plpgsql
as $$
declare
    v_lane bigint;
    v_now bigint;
    v_epoch integer;
begin
    select d.lane, d.epoch into v_lane, v_epoch from sexton.open_deletions d where d.id = p_deletion;
    if not found then
        return 'not_open';
    end if;
    if v_lane is not null then
        perform 1 from sexton.lanes l where l.lane = v_lane for no key update;
    end if;
    select d.lane into v_now from sexton.open_deletions d where d.id = p_deletion for update;
    if not found or v_now is distinct from v_lane then
        return 'moved';
    end if;
    insert into sexton.signals (deletion_id, kind, said_by, reason) values (p_deletion, p_kind, p_by, p_reason);
    insert into sexton.audit (said_by, action, deletion_id, detail)
    values (p_by, p_kind, p_deletion, jsonb_strip_nulls(jsonb_build_object('reason', p_reason)));
    if v_lane is null then
        -- Not a word about the deletion itself: only that somebody should look at it now.
        update sexton.open_deletions d
        set due_at = case when d.effect_ms is null then now() else greatest(d.due_at, now()) end
        where d.id = p_deletion;
    else
        update sexton.lanes l set generation = l.generation + 1 where l.lane = v_lane;
    end if;
    perform pg_notify('sexton_wake', coalesce(v_lane::text, ''));
    return 'said';
end $$;

-- Takeover, first half: workers whose lease has run out lose their lanes. Compare-and-set, so that of several who
-- try one does it; the lost worker's next write finds another epoch.
create function sexton.take_over() returns integer
language plpgsql
as $$
declare
    v_count integer;
begin
    with silent as (
        select w.worker from sexton.workers w
        where w.lost_at is null and w.expires_at < now()
        order by w.worker for update skip locked
    ), lost as (
        update sexton.workers w set lost_at = now() from silent s where w.worker = s.worker returning w.worker
    )
    update sexton.lanes l set epoch = l.epoch + 1, taken_over_at = now() from lost where l.worker = lost.worker;
    get diagnostics v_count = row_count;
    return v_count;
end $$;

-- What a lane has, or had when it was lost. By the primary key, also while the tables are small and nobody has counted them.
create function sexton.held_by(p_lane bigint) returns setof sexton.open_deletions
language sql stable
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    select d.* from sexton.open_deletions d
    where d.id = any (array(select unnest(c.ids) from sexton.claims c where c.lane = p_lane)) and d.lane = p_lane
$$;

-- Second half, a page at a time, by anyone, until no row names a dead epoch. An open intent is not touched before
-- its hard timeout has passed since the takeover: a frozen process may still be in the middle of it.
create function sexton.adopt_page(p_limit integer) returns integer
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_count integer;
begin
    with page as materialized (
        select d.id, l.taken_over_at
        from sexton.lanes l
        cross join lateral (
            select o.id from sexton.open_deletions o
            where o.id = any (array(select unnest(c.ids) from sexton.claims c where c.lane = l.lane))
              and o.lane = l.lane and o.epoch < l.epoch
            order by o.id limit p_limit
            for update skip locked
        ) d
        where l.taken_over_at is not null
        limit p_limit
    )
    update sexton.open_deletions d
    set lane = null,
        epoch = null,
        due_at = case when d.effect_ms is null then now()
                      else greatest(page.taken_over_at + make_interval(secs => d.effect_ms / 1000.0), now()) end
    from page where d.id = any (array[page.id]);
    get diagnostics v_count = row_count;
    if v_count = 0 then
        -- Nothing names them any more: the fences of the lost go. A late write finds no row, which is as good.
        with gone as (
            delete from sexton.lanes l
            where l.taken_over_at < now() - interval '1 minute' and not exists (select from sexton.held_by(l.lane))
            returning l.lane
        )
        delete from sexton.claims c using gone where c.lane = gone.lane;
        delete from sexton.workers w
        where w.lost_at < now() - interval '1 hour' and not exists (select from sexton.lanes l where l.worker = w.worker);
    end if;
    return v_count;
end $$;

-- Forgets the claims of a lane, from that one on, of which it has nothing any more, and shortens those of which it has less than
-- half. Where to begin next time, so that it need not step over the dead, and whether anything is left. Nothing is fenced:
-- it writes only what nobody else does, and to forget what is not held changes nothing.
create function sexton.forget_claims(p_lane bigint, p_since bigint) returns table (since bigint, is_more boolean)
language sql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    with looked as materialized (
        select c.id, cardinality(c.ids) as taken,
               array(select d.id from sexton.open_deletions d where d.id = any (c.ids) and d.lane = c.lane) as held
        from sexton.claims c
        where c.lane = p_lane and c.id >= p_since
    ), forgotten as (
        delete from sexton.claims c using looked l
        where c.lane = p_lane and c.id = any (array[l.id]) and cardinality(l.held) = 0
    ), shortened as (
        update sexton.claims c set ids = l.held from looked l
        where c.lane = p_lane and c.id = any (array[l.id]) and cardinality(l.held) between 1 and l.taken / 2
    )
    select coalesce(min(l.id) filter (where cardinality(l.held) > 0), max(l.id) + 1, p_since),
           coalesce(max(cardinality(l.held)) > 0, false)
    from looked l
$$;
