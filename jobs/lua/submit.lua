-- Accepts a job: remembers it, joins or creates its tasks and sends their messages, all or nothing.
-- KEYS[1] prefix; ARGV[1] the submission as JSON. Returns JSON {outcome, job, body}.
local prefix = KEYS[1]
local request = cjson.decode(ARGV[1])

local replay = remembered(prefix, request, request.job)
if replay then
    return replay
end

if request.batch then
    local states = prefix .. ':batch:' .. request.batch .. ':states'
    if redis.call('GETRANGE', states, request.index, request.index) ~= '.' then
        return cjson.encode({outcome = 'settled', job = request.job}) -- expanded before, or cancelled
    end
    redis.call('SETRANGE', states, request.index, 'q')
    -- An expansion that gets on is not one that kills its process, however often that dies.
    redis.call('HSET', prefix .. ':task:' .. request.batch, 'attempts', 0)
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
                'message', task.message, 'input', task.input, 'attempts', 0, 'created', request.now,
                'requests', request.request_id)
            redis.call('ZADD', prefix .. ':open', request.now, task.key)
            enqueue(request.queues, task.queue, task.message, task.envelope)
        else
            local requests = redis.call('HGET', name, 'requests') or ''
            if request.request_id ~= '' and #requests < 1000 then -- of a thousand who ask the same, the log names the first
                redis.call('HSET', name, 'requests', requests .. ' ' .. request.request_id)
            end
        end
        if status == 'queued' and request.urgent and queue ~= task.queue then
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
if request.owner ~= '' then
    local own = prefix .. ':jobs:' .. request.owner
    redis.call('ZADD', own, request.now, request.job)
    redis.call('ZREMRANGEBYSCORE', own, '-inf', request.now - request.ttl)
    redis.call('EXPIRE', own, request.ttl)
end
return cjson.encode({outcome = 'accepted', job = request.job})
