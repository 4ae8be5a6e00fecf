-- Takes a cost from a key's bucket and from its day, or from neither.
-- KEYS[1] the key's account; ARGV: cost, atoms a minute, atoms a day (0: any number).
-- Returns {outcome, left in the bucket, used today, seconds until the same would pass, seconds until the next day}:
-- taken | minute | day.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local cost, a_minute, a_day = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local state = redis.call('HMGET', KEYS[1], 'left', 'at', 'day', 'used')
local today = math.floor(now / 86400)
local used = tonumber(state[3]) == today and tonumber(state[4]) or 0
local left = a_minute
if state[1] then
    -- Since a clock that was put back, no time has passed; from here on it counts as it goes.
    local passed = math.max(0, now - tonumber(state[2]))
    left = math.min(a_minute, tonumber(state[1]) + passed * a_minute / 60)
end

-- What is larger than the bucket needs a full one, and leaves a debt that time pays: no structure is too large for
-- ever, and the rate holds over time.
local needed = math.min(cost, a_minute)
local outcome, seconds, night = 'taken', 0, (today + 1) * 86400 - now
if a_day > 0 and used + cost > a_day then
    outcome, seconds = 'day', night
elseif a_minute > 0 and left < needed then
    outcome, seconds = 'minute', (needed - left) * 60 / a_minute
else
    left, used = left - cost, used + cost
end
local debt = a_minute > 0 and (a_minute - left) * 60 / a_minute or 0
redis.call('HSET', KEYS[1], 'left', string.format('%.6f', left), 'at', string.format('%.6f', now), 'day', today, 'used', used)
redis.call('EXPIRE', KEYS[1], math.ceil(math.max(172800, debt)))
return {outcome, string.format('%.6f', left), used, string.format('%.6f', seconds), string.format('%.6f', night)}
