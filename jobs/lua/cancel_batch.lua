-- Cancels a batch: what has no job yet gets none. Its jobs are cancelled one by one after this.
-- KEYS[1] batch; ARGV[1] now. Returns gone | finished | cancelled.
local states = redis.call('GET', KEYS[1] .. ':states')
if not states then
    return 'gone'
end
if not states:find('[.qr]') then
    return 'finished'
end
redis.call('HSETNX', KEYS[1], 'cancelled', ARGV[1])
redis.call('SET', KEYS[1] .. ':states', (states:gsub('%.', 'c')), 'KEEPTTL')
return 'cancelled'
