-- The reply to a request whose idempotency key was used before; else nothing, and the key is remembered.
-- Prepended to the scripts that accept something, so that a key and what it names appear together or not at all.
local function remembered(prefix, request, id)
    if not request.idempotency_key then
        return nil
    end
    local name = prefix .. ':idempotency:' .. (request.owner or '') .. ':' .. request.idempotency_key
    local seen = redis.call('HMGET', name, 'body', 'job')
    if seen[1] then
        return cjson.encode({outcome = 'replayed', body = seen[1], job = seen[2]})
    end
    redis.call('HSET', name, 'body', request.idempotency_body, 'job', id)
    redis.call('EXPIRE', name, request.idempotency_ttl)
    return nil
end

