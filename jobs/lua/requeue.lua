-- Gives an open task a new message in place of one that is lost. Returns 1 if the task still waits for that message.
-- KEYS[1] task; ARGV: lost message, new message, queues, queue, envelope, whether no attempt was lost with it (1).
local state = redis.call('HMGET', KEYS[1], 'status', 'message')
if (state[1] ~= 'queued' and state[1] ~= 'running') or state[2] ~= ARGV[1] then
    return 0
end
redis.call('HSET', KEYS[1], 'status', 'queued', 'message', ARGV[2])
if ARGV[6] == '1' then
    redis.call('HINCRBY', KEYS[1], 'attempts', -1)
end
enqueue(ARGV[3], ARGV[4], ARGV[2], ARGV[5])
return 1
