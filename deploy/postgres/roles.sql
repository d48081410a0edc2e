-- The roles of Sexton's own database: who may do what. Run once, by an administrator, in that database, before the first
-- `sexton migrate`; harmless to repeat. `grants.sql` says what each of them may do, after each `sexton migrate`.
--
-- None of them can log in. Whoever does is a member, with a name and a password of your own:
--
--   create role sexton_migrate login password '…' in role sexton_owner;
--   alter role sexton_migrate set role = 'sexton_owner';      -- so that what it makes belongs to the owner
--   create role sexton_work login password '…' in role sexton_worker;
--   create role sexton_door login password '…' in role sexton_gateway;
--   create role sexton_desk login password '…' in role sexton_operator;
--   create role sexton_look login password '…' in role sexton_reader;

do $$
declare
    name text;
begin
    foreach name in array array[
        'sexton_owner',        -- `sexton migrate`: owns the schema, and nobody works as it
        'sexton_worker',       -- `sexton run --role intake --role engine --role relay --role retention`
        'sexton_gateway',      -- `sexton run --role gateway`
        'sexton_operator',     -- `sexton deletions`, `rejected`, `keys`, `plan adopt`
        'sexton_reader'        -- dashboards and auditors
    ] loop
        begin
            execute format('create role %I nologin', name);
        exception when duplicate_object or unique_violation then
            null;
        end;
    end loop;
    -- The first migration makes the schema; nobody else makes anything here.
    execute format('grant create on database %I to sexton_owner', current_database());
end $$;
