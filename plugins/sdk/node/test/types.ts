// What an author writes in TypeScript; it is only checked, not run.
import { allow, deny, duration, mapOf, pass, Plugin, rewrite, serve, Unavailable } from "../src/index.js";
import type { Access, Call, ClientAuthenticateRequest, ConfigOf, MessagePublishRequest } from "../src/index.js";
import { start } from "../src/testing.js";

const shape = { url: String, retries: 3, users: mapOf({ password: String }), topics: ["#"], wait: (v = "5s") => duration(v) };

class Login extends Plugin<ConfigOf<typeof shape>> {
  static config = shape;

  override topics() {
    return { "message.publish": this.config.topics };
  }

  override async onClientAuthenticate(r: ClientAuthenticateRequest, call: Call): Promise<Access> {
    const user = this.config.users[r.clientinfo.username];
    const wait: number = this.config.wait * this.config.retries;
    await fetch(this.config.url, { signal: call.signal, headers: { wait: String(wait) } })
      .catch((cause) => { throw new Unavailable("no users", { cause }); });
    return user?.password === r.clientinfo.password ? allow : deny.final();
  }

  override onMessagePublish(r: MessagePublishRequest) {
    return r.message.qos > 1 ? pass : rewrite({ ...r.message, payload: `${r.message.payload} °C` });
  }
}

serve(Login);

serve({
  config: { perSecond: 10 },
  onClientAuthorize(r) {
    return r.type === "publish" && this.config.perSecond > 1 ? allow : deny;
  },
});

// @ts-expect-error an answer of the other kind
serve({ onClientAuthenticate: () => pass });
// @ts-expect-error a hook that there is not
serve({ onClientConnected() {}, onClientConect() {} });

export async function test() {
  const p = await start(Login, { config: { url: "http://127.0.0.1" } });
  const answer: Access = await p.onClientAuthenticate({ clientinfo: { username: "alice" } }, { timeout: 100 });
  // @ts-expect-error a field that there is not
  await p.onClientAuthenticate({ clientinfo: { user: "alice" } });
  return answer;
}
