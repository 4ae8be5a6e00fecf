-- Brings the states of some items of a batch up to date with their jobs; final ones stay. `records.job_status` says the
-- same in Python (a test compares them).
-- KEYS[1] prefix; ARGV: batch, first item, last item.
local prefix = KEYS[1]
local batch = prefix .. ':batch:' .. ARGV[1]

local function moment(field)
    return tonumber(field or '0') or 0
end

-- State of a job, and when it ended.
local function state_of(name)
    local job = redis.call('HMGET', name, 'tasks', 'cancelled')
    if job[2] then
        return 'c', moment(job[2])
    end
    local ended, n_present, n_succeeded, is_running, is_failed = 0, 0, 0, false, false
    local keys = job[1] and cjson.decode(job[1]) or {}
    for _, key in ipairs(keys) do
        local task = redis.call('HMGET', prefix .. ':task:' .. key, 'status', 'finished')
        if task[1] then
            n_present = n_present + 1
            ended = math.max(ended, moment(task[2]))
        end
        is_failed = is_failed or task[1] == 'failed'
        is_running = is_running or task[1] == 'running'
        n_succeeded = n_succeeded + (task[1] == 'succeeded' and 1 or 0)
    end
    if is_failed or n_present < #keys or #keys == 0 then
        return 'f', ended -- an expired one has failed, too
    end
    if n_succeeded == #keys then
        return 's', ended
    end
    return is_running and 'r' or 'q', 0
end

local latest = moment(redis.call('HGET', batch, 'finished'))
local first = tonumber(ARGV[2])
local states = redis.call('GETRANGE', batch .. ':states', ARGV[2], ARGV[3])
for offset = 1, #states do
    local state = states:sub(offset, offset)
    if state == 'q' or state == 'r' then
        local index = string.format('%d', first + offset - 1)
        local found, ended = state_of(prefix .. ':job:' .. ARGV[1] .. '-' .. index)
        if found ~= state then
            redis.call('SETRANGE', batch .. ':states', index, found)
            latest = math.max(latest, ended)
        end
    end
end
if latest > 0 and redis.call('EXISTS', batch) == 1 then
    redis.call('HSET', batch, 'finished', string.format('%.6f', latest))
end
