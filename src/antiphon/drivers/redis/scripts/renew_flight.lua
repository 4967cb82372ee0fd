-- KEYS: flight, followers. ARGV: epoch, lease (ms).
-- Returns how many follow, nothing if it is lost.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
    return false
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZCOUNT', KEYS[2], now, '+inf')
