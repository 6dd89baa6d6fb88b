import { noOpinion, pass, Plugin } from "@hookmux/sdk";

// Prints every event, and leaves every decision to others.
export class EveryHook extends Plugin {
  onProviderLoaded(r) { console.log("provider.loaded", r.broker.version); }
  onProviderUnloaded(r) { console.log("provider.unloaded", r.meta.node); }

  onClientConnect(r) { console.log("client.connect", r.conninfo.clientid); }
  onClientConnack(r) { console.log("client.connack", r.conninfo.clientid, r.resultCode); }
  onClientConnected(r) { console.log("client.connected", r.clientinfo.clientid); }
  onClientDisconnected(r) { console.log("client.disconnected", r.clientinfo.clientid, r.reason); }

  onClientAuthenticate(r) {
    console.log("client.authenticate", r.clientinfo.clientid, r.clientinfo.username);
    return noOpinion;
  }
  onClientAuthorize(r) {
    console.log("client.authorize", r.clientinfo.clientid, r.type, r.topic);
    return noOpinion;
  }
  onClientSubscribe(r) { console.log("client.subscribe", r.clientinfo.clientid, ...r.topicFilters.map((f) => f.name)); }
  onClientUnsubscribe(r) { console.log("client.unsubscribe", r.clientinfo.clientid, ...r.topicFilters.map((f) => f.name)); }

  onSessionCreated(r) { console.log("session.created", r.clientinfo.clientid); }
  onSessionSubscribed(r) { console.log("session.subscribed", r.clientinfo.clientid, r.topic); }
  onSessionUnsubscribed(r) { console.log("session.unsubscribed", r.clientinfo.clientid, r.topic); }
  onSessionResumed(r) { console.log("session.resumed", r.clientinfo.clientid); }
  onSessionDiscarded(r) { console.log("session.discarded", r.clientinfo.clientid); }
  onSessionTakenover(r) { console.log("session.takenover", r.clientinfo.clientid); }
  onSessionTerminated(r) { console.log("session.terminated", r.clientinfo.clientid, r.reason); }

  onMessageIngress(r) {
    console.log("message.ingress", r.message.from, r.message.topic, `${r.message.payload}`);
    return pass;
  }
  onMessagePublish(r) {
    console.log("message.publish", r.message.from, r.message.topic, `${r.message.payload}`);
    return pass;
  }
  onMessageDelivered(r) { console.log("message.delivered", r.clientinfo.clientid, r.message.topic); }
  onMessageDropped(r) { console.log("message.dropped", r.message.topic, r.reason); }
  onMessageAcked(r) { console.log("message.acked", r.clientinfo.clientid, r.message.topic); }
}
