-- read-only static S3: LIST v1/v2 from an in-memory sorted index, GET/HEAD by nginx's own static handler
local M={} ; local B={}
local esc=function(s) return (s:gsub('&','&amp;'):gsub('<','&lt;'):gsub('>','&gt;')) end
function M.load(dir, names)
  for _,n in ipairs(names) do
    local f=io.open(dir..'/'..n..'.tsv'); local keys,xml,etag={},{},{}
    if f then
      for l in f:lines() do
        local k,s,d,h=l:match('^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)')
        local i=#keys+1; keys[i]=k; etag[k]='"'..h..'"'
        xml[i]='<Contents><Key>'..esc(k)..'</Key><LastModified>'..d..'</LastModified><ETag>&quot;'..h..'&quot;</ETag><Size>'..s..'</Size><StorageClass>STANDARD</StorageClass></Contents>'
      end
      f:close()
    end
    B[n]={keys=keys,xml=xml,etag=etag}
  end
end
local function upper(keys,s)  -- first index with keys[i] > s
  local lo,hi=1,#keys+1
  while lo<hi do local m=math.floor((lo+hi)/2); if keys[m]>s then hi=m else lo=m+1 end end
  return lo
end
local function lower(keys,s)
  local lo,hi=1,#keys+1
  while lo<hi do local m=math.floor((lo+hi)/2); if keys[m]>=s then hi=m else lo=m+1 end end
  return lo
end
local HEAD='<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
local function err(code,name) ngx.status=code; ngx.header['Content-Type']='application/xml'
  local b='<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>'..name..'</Code><Message>'..name..'</Message></Error>'
  ngx.header['Content-Length']=#b; ngx.print(b); return ngx.exit(code) end
function M.root()
  ngx.header['Content-Type']='application/xml'; local o={'<?xml version="1.0" encoding="UTF-8"?>\n<ListAllMyBucketsResult><Owner><ID>x</ID></Owner><Buckets>'}
  for n in pairs(B) do o[#o+1]='<Bucket><Name>'..n..'</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket>' end
  o[#o+1]='</Buckets></ListAllMyBucketsResult>'; local b=table.concat(o); ngx.header['Content-Length']=#b; ngx.print(b)
end
function M.bucket()
  local b=B[ngx.var.bkt]; if not b then return err(404,'NoSuchBucket') end
  ngx.header['Content-Type']='application/xml'; ngx.header['x-amz-bucket-region']='us-east-1'
  if ngx.req.get_method()=='HEAD' then ngx.header['Content-Length']=0; return end
  if ngx.req.get_method()~='GET' then return err(405,'MethodNotAllowed') end
  local a=ngx.req.get_uri_args(50)
  local function sub(name,body) local x='<?xml version="1.0" encoding="UTF-8"?>\n'..body; ngx.header['Content-Length']=#x; ngx.print(x) end
  if a.location~=nil then return sub('l','<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>') end
  if a.versioning~=nil then return sub('v','<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></VersioningConfiguration>') end
  local v2=a['list-type']=='2'
  local S=function(x) if type(x)=='string' then return x end return '' end
  local prefix,delim=S(a.prefix),S(a.delimiter)
  local max=tonumber(S(a['max-keys'])) or 1000; if max>1000 then max=1000 end
  local after=v2 and (a['continuation-token'] and S(a['continuation-token']) or S(a['start-after'])) or S(a.marker)
  local keys,xml=b.keys,b.xml
  local i=lower(keys,prefix); if after~='' then local j=upper(keys,after); if j>i then i=j end
    if delim~='' and after:sub(-#delim)==delim then j=lower(keys,after..'\255'); if j>i then i=j end end end
  local out,cps,n,last={}, {},0,nil
  local o={}
  while i<=#keys and n<max do
    local k=keys[i]; if prefix~='' and k:sub(1,#prefix)~=prefix then i=#keys+1; break end
    local p=delim~='' and k:find(delim,#prefix+1,true)
    if p then local cp=k:sub(1,p+#delim-1); cps[#cps+1]='<CommonPrefixes><Prefix>'..esc(cp)..'</Prefix></CommonPrefixes>'; last=cp; i=lower(keys,cp..'\255')
    else o[#o+1]=xml[i]; last=k; i=i+1 end
    n=n+1
  end
  local trunc=i<=#keys and (prefix=='' or keys[i]:sub(1,#prefix)==prefix)
  local h=HEAD..'<Name>'..ngx.var.bkt..'</Name><Prefix>'..esc(prefix)..'</Prefix><MaxKeys>'..max..'</MaxKeys>'
  if delim~='' then h=h..'<Delimiter>'..esc(delim)..'</Delimiter>' end
  if a['encoding-type']=='url' then h=h..'<EncodingType>url</EncodingType>' end
  if v2 then h=h..'<KeyCount>'..n..'</KeyCount>' end
  h=h..'<IsTruncated>'..(trunc and 'true' or 'false')..'</IsTruncated>'
  if trunc and v2 then h=h..'<NextContinuationToken>'..esc(last)..'</NextContinuationToken>' end
  if trunc and not v2 then h=h..'<NextMarker>'..esc(last)..'</NextMarker>' end
  local body=h..table.concat(o)..table.concat(cps)..'</ListBucketResult>'
  ngx.header['Content-Length']=#body; ngx.print(body)
end
-- nginx's own If-Match knows no ETag of ours
function M.match() local want=ngx.req.get_headers()['If-Match']; if not want then return end
  ngx.req.clear_header('If-Match'); local b=B[ngx.var.bkt]; local e=b and b.etag[ngx.var.key]
  if e and want~=e and want~='*' and want~=e:sub(2,-2) then return err(412,'PreconditionFailed') end end
function M.etag() local b=B[ngx.var.bkt]; if b then local e=b.etag[ngx.var.key]; if e then ngx.header['ETag']=e end end end
return M
