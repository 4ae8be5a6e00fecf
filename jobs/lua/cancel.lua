-- Cancels a job; a queued task that nobody else waits for is cancelled with it.
-- KEYS[1] prefix; ARGV: job, now. Returns gone | repeated | finished | cancelled.
local prefix = KEYS[1]
local job = prefix .. ':job:' .. ARGV[1]
local state = redis.call('HMGET', job, 'tasks', 'cancelled')
if not state[1] then
    return 'gone'
end
if state[2] then
    return 'repeated'
end
local keys = cjson.decode(state[1])
local succeeded, ended = 0, false
for _, key in ipairs(keys) do
    local status = redis.call('HGET', prefix .. ':task:' .. key, 'status')
    if status == 'succeeded' then
        succeeded = succeeded + 1
    elseif status ~= 'queued' and status ~= 'running' then
        ended = true
    end
end
if ended or succeeded == #keys then
    return 'finished'
end
redis.call('HSET', job, 'cancelled', ARGV[2])
for _, key in ipairs(keys) do
    local task = prefix .. ':task:' .. key
    redis.call('SREM', task .. ':jobs', ARGV[1])
    if redis.call('SCARD', task .. ':jobs') == 0 and redis.call('HGET', task, 'status') == 'queued' then
        redis.call('DEL', task)
        redis.call('ZREM', prefix .. ':open', key)
    end
end
redis.call('PUBLISH', prefix .. ':notices', ARGV[1])
return 'cancelled'
