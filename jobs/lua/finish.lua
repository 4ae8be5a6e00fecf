-- Ends a task; the first end is the one that counts. Returns the requests that asked for it, or 0 if it was not this one.
-- KEYS[1] task; KEYS[2] open set; ARGV: key, status, field (result or error), JSON, now, seconds, ttl, channel.
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'running' and status ~= 'queued' then
    return 0
end
redis.call('HSET', KEYS[1], 'status', ARGV[2], ARGV[3], ARGV[4], 'finished', ARGV[5], 'seconds', ARGV[6])
redis.call('HINCRBY', KEYS[1], 'completions', 1)
redis.call('HDEL', KEYS[1], 'input', 'progress')
redis.call('EXPIRE', KEYS[1], ARGV[7])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('PUBLISH', ARGV[8], ARGV[1])
return redis.call('HGET', KEYS[1], 'requests') or ''
