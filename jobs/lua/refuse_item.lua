-- Refuses an item of a batch that has no job yet.
-- KEYS[1] batch; ARGV: item, error JSON, ttl.
if redis.call('GETRANGE', KEYS[1] .. ':states', ARGV[1], ARGV[1]) ~= '.' then
    return 0
end
redis.call('HSET', KEYS[1] .. ':errors', ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1] .. ':errors', ARGV[3])
redis.call('SETRANGE', KEYS[1] .. ':states', ARGV[1], 'i')
return 1
