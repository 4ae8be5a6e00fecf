-- Takes a task for one worker.
-- KEYS[1] task; KEYS[2] open set; ARGV: key, message, worker, now, most deliveries, shared (1: in a batch with others), failure JSON, ttl, channel.
-- Returns {outcome[, input, attempt, when it was created]}: claimed | alone (must run by itself) | stale | exhausted.
local state = redis.call('HMGET', KEYS[1], 'status', 'message', 'attempts', 'worker', 'started')
local status, message, attempts = state[1], state[2], tonumber(state[3] or '0')
if (status ~= 'queued' and status ~= 'running') or message ~= ARGV[2] then
    return {'stale'}
end
if status == 'running' and state[4] == ARGV[3] and state[5] == ARGV[4] then
    -- This very claim, sent again because the store died before it answered: one attempt, not two.
    local asked = redis.call('HMGET', KEYS[1], 'input', 'created')
    return {'claimed', asked[1], attempts, asked[2]}
end
if attempts >= tonumber(ARGV[5]) then
    redis.call('HSET', KEYS[1], 'status', 'failed', 'error', ARGV[7], 'finished', ARGV[4])
    redis.call('EXPIRE', KEYS[1], ARGV[8])
    redis.call('ZREM', KEYS[2], ARGV[1])
    redis.call('PUBLISH', ARGV[9], ARGV[1])
    return {'exhausted'}
end
if attempts > 0 and ARGV[6] == '1' then
    return {'alone'} -- it was in hand when a worker died: its neighbours must not die with it again
end
redis.call('HSET', KEYS[1], 'status', 'running', 'worker', ARGV[3], 'started', ARGV[4], 'attempts', attempts + 1)
redis.call('HDEL', KEYS[1], 'progress') -- of the attempt before
redis.call('PUBLISH', ARGV[9], ARGV[1])
local asked = redis.call('HMGET', KEYS[1], 'input', 'created')
return {'claimed', asked[1], attempts + 1, asked[2]}
