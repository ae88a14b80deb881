-- Refuses a request whose body comes too slowly: 408, and its connection is closed.
--
-- nginx bounds the silence within a body (client_body_timeout), never the whole of it.  Here each
-- window must bring its share, or the body's end, and there are only so many: what a chunk has
-- beside its data counts for the pace, but nowhere against the bound of the size.  The rendered
-- configuration says above what these are: window_s, share_bytes.

local function watch(windows)
    for _ = 1, windows do
        local before = ngx.var.request_length
        ngx.sleep(window_s)
        if ngx.var.request_length - before < share_bytes then
            break
        end
    end
    -- Not ngx.exit(408): to nginx that is a client that is gone, which is told nothing.
    ngx.exec("/-/edge/408")
end

function await_body(windows)
    if not ngx.var.http_content_length and not ngx.var.http_transfer_encoding then
        return
    end
    local watcher = ngx.thread.spawn(watch, windows)
    ngx.req.read_body()
    ngx.thread.kill(watcher)
    -- Lua has nginx name a body's file until the request ends; a worker that is killed leaves none.
    local file = ngx.req.get_body_file()
    if file then
        os.remove(file)
    end
end
