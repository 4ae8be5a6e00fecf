-- Puts a message where Dramatiq's consumers look for it, as Dramatiq's own `enqueue` does (a test compares them).
-- Prepended to the scripts that send, so that a task and its message appear together or not at all.
local function enqueue(queues, queue, message, envelope)
    redis.call('HSET', queues .. ':' .. queue .. '.msgs', message, envelope)
    redis.call('RPUSH', queues .. ':' .. queue, message)
end

