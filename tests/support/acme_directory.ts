/** What a {@link startAcmeDirectory} does in the place of its usual answer. */
export type Meanwhile = (path: string, visit: number, request: Request) => Answer | Promise<Answer>;
type Answer = Response | undefined | false;

interface AcmeServer extends AsyncDisposable {
  /** Of the directory itself. */
  readonly url: string;
  /** Every path that was asked for. */
  readonly visits: readonly string[];
}

/** What {@link startAcmeDirectory} gives out. It is none. */
export const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/**
 * An ACME directory that looks at no signature and believes everything (RFC 8555 §7.1): each name is proved after one
 * `http-01`.
 *
 * @param meanwhile Answers in its place, by path and by how often that was asked for.
 */
export function startAcmeDirectory(meanwhile: Meanwhile = () => undefined): AcmeServer {
  const visits: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    await request.body?.pipeTo(new WritableStream());
    const { pathname } = new URL(request.url);
    visits.push(pathname);
    const visit = visits.filter((one) => one === pathname).length;
    const answer = await meanwhile(pathname, visit, request) || usual(pathname);
    answer.headers.set("replay-nonce", crypto.randomUUID());
    return answer;
  });
  const base = `http://127.0.0.1:${server.addr.port}`;
  const order = (status: string) => ({
    status,
    identifiers: [{ type: "dns", value: "app.example.com" }],
    authorizations: [`${base}/authorization`],
    finalize: `${base}/finalize`,
    certificate: `${base}/certificate`,
  });
  const usual = (path: string): Response => {
    const proved = visits.includes("/challenge");
    const challenge = { type: "http-01", url: `${base}/challenge`, token: "token", status: "pending" };
    switch (path) {
      case "/directory":
        return Response.json({
          newNonce: `${base}/nonce`,
          newAccount: `${base}/account`,
          newOrder: `${base}/order`,
        });
      case "/account":
        return Response.json({ status: "valid" }, {
          status: 201,
          headers: { location: `${base}/accounts/1` },
        });
      case "/order":
        return Response.json(order("pending"), { status: 201, headers: { location: `${base}/orders/1` } });
      case "/authorization":
        return Response.json({
          status: proved ? "valid" : "pending",
          identifier: { type: "dns", value: "app.example.com" },
          challenges: [challenge],
        });
      case "/challenge":
        return Response.json(challenge);
      case "/orders/1":
      case "/finalize":
        return Response.json(order("valid"), { headers: { location: `${base}/orders/1` } });
      case "/certificate":
        return new Response(CERTIFICATE);
      default:
        return new Response();
    }
  };
  return {
    url: `${base}/directory`,
    visits,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
