-- Notes how far a running task is, if its own worker says so. Returns 1 if it was noted.
-- KEYS[1] task; ARGV: key, worker, progress JSON, channel.
local state = redis.call('HMGET', KEYS[1], 'status', 'worker')
if state[1] ~= 'running' or state[2] ~= ARGV[2] then
    return 0
end
redis.call('HSET', KEYS[1], 'progress', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[1])
return 1
