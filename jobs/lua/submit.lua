-- Accepts a job: remembers it, joins or creates its tasks and sends their messages, all or nothing.
-- KEYS[1] prefix; ARGV[1] the submission as JSON. Returns JSON {outcome, job, body}.
local prefix = KEYS[1]
local request = cjson.decode(ARGV[1])

if request.idempotency_key then
    local name = prefix .. ':idempotency:' .. request.idempotency_key
    local seen = redis.call('HMGET', name, 'body', 'job')
    if seen[1] then
        return cjson.encode({outcome = 'replayed', body = seen[1], job = seen[2]})
    end
    redis.call('HSET', name, 'body', request.idempotency_body, 'job', request.job)
    redis.call('EXPIRE', name, request.idempotency_ttl)
end

local cached = 1
local keys = {}
for index, task in ipairs(request.tasks) do
    local name = prefix .. ':task:' .. task.key
    local state = redis.call('HMGET', name, 'status', 'queue')
    local status, queue = state[1], state[2]
    if status == 'succeeded' then
        redis.call('EXPIRE', name, request.ttl)
    else
        cached = 0
        if status ~= 'queued' and status ~= 'running' then
            redis.call('DEL', name)
            redis.call('HSET', name, 'status', 'queued', 'model', task.model, 'cost', task.cost, 'queue', task.queue,
                'message', task.message, 'input', task.input, 'attempts', 0, 'created', request.now)
            redis.call('ZADD', prefix .. ':open', request.now, task.key)
            enqueue(request.queues, task.queue, task.message, task.envelope)
        elseif status == 'queued' and request.urgent and queue ~= task.queue then
            -- Somebody is waiting now for what was queued as bulk work. The older message becomes stale.
            redis.call('HSET', name, 'queue', task.queue, 'message', task.message)
            enqueue(request.queues, task.queue, task.message, task.envelope)
        end
    end
    redis.call('SADD', name .. ':jobs', request.job)
    redis.call('EXPIRE', name .. ':jobs', request.ttl)
    keys[index] = task.key
end

local job = prefix .. ':job:' .. request.job
redis.call('HSET', job, 'record', request.record, 'tasks', cjson.encode(keys), 'cached', cached)
redis.call('EXPIRE', job, request.ttl)
redis.call('ZADD', prefix .. ':jobs', request.now, request.job)
redis.call('ZREMRANGEBYSCORE', prefix .. ':jobs', '-inf', request.now - request.ttl)
return cjson.encode({outcome = 'accepted', job = request.job})
