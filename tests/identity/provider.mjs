// A certified OpenID Connect provider on loopback, as the tests need it: whoever comes is Alice, and she agrees to all.
// Its argument is JSON: port (0: any free one), keys (private JWKs, the first signs), seconds (a token's life).
// It says in lines of JSON where it listens, and then what it was asked.
import http from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const { modules, port, keys, seconds } = JSON.parse(process.argv[2]);
const { Provider } = await import(pathToFileURL(createRequire(modules).resolve('oidc-provider')));
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const server = http.createServer();
await new Promise((listening) => server.listen(port, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
const code = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];
const robot = { grant_types: ['client_credentials'], redirect_uris: [], response_types: [] };

const provider = new Provider(issuer, {
  jwks: { keys },
  clients: [
    { client_id: 'bursa service', client_secret: 'of service: /+%', ...robot },
    { client_id: 'robot', client_secret: 'of robot', ...robot },
    {
      client_id: 'bursa-cli', application_type: 'native', token_endpoint_auth_method: 'none',
      grant_types: code, redirect_uris: ['http://127.0.0.1/callback'],
    },
  ],
  scopes: ['openid', 'offline_access'],
  enabledJWA: { introspectionSigningAlgValues: ['RS256'], idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims: (_, token) => {
    const name = token.accountId ?? token.clientId;
    // For opaque tokens of clients it would say no `sub`.
    return { sub: name, preferred_username: `${name}@lab.test`, realm: { groups: ['hpc', 'users'] } };
  },
  ttl: { AccessToken: seconds, ClientCredentials: seconds, AuthorizationCode: 60, DeviceCode: 60, RefreshToken: 600, Grant: 600, Interaction: 600, Session: 600, IdToken: 600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    deviceFlow: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // https://AUDIENCE.test/FORMAT
      getResourceServerInfo: (_, resource) => {
        const [audience, format] = [new URL(resource).hostname.split('.')[0], new URL(resource).pathname.slice(1)];
        const opaque = format === 'opaque';
        return {
          scope: 'calls other', audience, accessTokenFormat: opaque ? 'opaque' : 'jwt',
          jwt: opaque ? undefined : { sign: { alg: format } },
        };
      },
      useGrantedResource: () => true,
    },
  },
  interactions: { url: (_, interaction) => `/agree/${interaction.uid}` },
  cookies: { keys: ['of cookies'] },
});

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/agree/')) return next();
  const { prompt, params, session, grantId } = await provider.interactionDetails(ctx.req, ctx.res);
  if (prompt.name === 'login') {
    return provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: 'alice' } });
  }
  const known = grantId && (await provider.Grant.find(grantId));
  const grant = known || new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  for (const resource of [params.resource ?? []].flat()) grant.addResourceScope(resource, params.scope);
  await provider.interactionFinished(ctx.req, ctx.res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
});

provider.on('server_error', (_, error) => process.stderr.write(`${error.stack}\n`));
server.on('request', (request, response) => {
  say({ asked: request.url.split('?')[0] });
  provider.callback()(request, response);
});
say({ issuer });
