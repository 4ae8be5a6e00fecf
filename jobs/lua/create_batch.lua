-- Accepts a batch: remembers it, and its expansion as a task, and sends the message of that, all or nothing.
-- KEYS[1] prefix; ARGV[1] the batch as JSON. Returns JSON {outcome, job, body}, where job is the id of the batch.
local prefix = KEYS[1]
local request = cjson.decode(ARGV[1])

local replay = remembered(prefix, request, request.id)
if replay then
    return replay
end

local batch = prefix .. ':batch:' .. request.id
redis.call('HSET', batch, 'record', request.record)
redis.call('EXPIRE', batch, request.ttl)
redis.call('SET', batch .. ':states', string.rep('.', request.n_items), 'EX', request.ttl)
local lists = {prefix .. ':batches'}
if request.owner ~= '' then
    lists[2] = prefix .. ':batches:' .. request.owner
end
for _, list in ipairs(lists) do
    redis.call('ZADD', list, request.now, request.id)
    redis.call('ZREMRANGEBYSCORE', list, '-inf', request.now - request.ttl)
    redis.call('EXPIRE', list, request.ttl)
end

redis.call('HSET', prefix .. ':task:' .. request.id, 'status', 'queued', 'model', request.model, 'cost', 0,
    'queue', request.queue, 'message', request.message, 'attempts', 0, 'created', request.now)
redis.call('ZADD', prefix .. ':open', request.now, request.id)
enqueue(request.queues, request.queue, request.message, request.envelope)
return cjson.encode({outcome = 'accepted', job = request.id})
