-- KEYS: flight, followers. ARGV: epoch, '1' if even followed ones, channels, flight.
-- Returns how many follow what stays therefore, nothing if it is lost.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
    return false
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local followers = redis.call('ZRANGEBYSCORE', KEYS[2], now, '+inf')
if #followers > 0 and ARGV[2] ~= '1' then
    return #followers
end
redis.call('DEL', KEYS[1], KEYS[2])
for _, process in ipairs(followers) do
    redis.call('PUBLISH', ARGV[3] .. process, ARGV[4])
end
return 0
