-- KEYS: flight, followers. ARGV: epoch, process, channels, flight.
local led = redis.call('HMGET', KEYS[1], 'epoch', 'leader')
if led[1] == ARGV[1] and redis.call('ZREM', KEYS[2], ARGV[2]) == 1 then
    redis.call('PUBLISH', ARGV[3] .. led[2], ARGV[4])
end
return 1
