import type { PlayerEvents } from './player'

export interface WhepEvents extends PlayerEvents {
  /** It has played, and does no more. reason: a code of `live.reason.*`. */
  lost(reason: string): void
}

/** So long the first picture may take: a media server may have to open the camera first. */
const FIRST_PICTURE_MS = 10_000
const SILENCE_MS = 10_000
const DISCONNECTED_MS = 3000
/** There are no servers to ask for addresses, so this is done at once, or will not be. */
const GATHERING_MS = 500
const FAREWELL_MS = 2000

/** A media server's stream by WHEP (WebRTC) → video element. Nothing is opened by itself twice. */
export class WhepPlayer {
  private readonly stop = new AbortController()
  private readonly peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' })
  private readonly stream = new MediaStream()
  private timer = 0
  private parting = 0
  private shown = false
  /** Where this view can be ended. */
  private address: string | null = null

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly url: string,
    private readonly token: string,
    private readonly events: WhepEvents,
  ) {
    video.muted = video.autoplay = true
    video.srcObject = this.stream
    this.watch(FIRST_PICTURE_MS)
    this.peer.ontrack = ({ track }) => this.add(track)
    this.peer.onconnectionstatechange = () => this.changed()
    for (const kind of ['video', 'audio']) this.peer.addTransceiver(kind, { direction: 'recvonly' })
    void this.open().catch((error: unknown) => this.fail(String(error)))
  }

  setAudible(on: boolean): void {
    this.video.muted = !on
  }

  close(): void {
    if (this.stop.signal.aborted) return
    this.stop.abort()
    clearTimeout(this.timer)
    clearTimeout(this.parting)
    this.peer.ontrack = this.peer.onconnectionstatechange = null
    this.video.srcObject = null
    void this.end().finally(() => this.peer.close())
  }

  private get closed(): boolean {
    return this.stop.signal.aborted
  }

  private async open(): Promise<void> {
    await this.peer.setLocalDescription(await this.peer.createOffer())
    await gathered(this.peer)
    if (this.closed) return
    const answer = await fetch(this.url, {
      method: 'POST',
      headers: { ...this.authorization(), 'Content-Type': 'application/sdp' },
      body: this.peer.localDescription?.sdp ?? '',
      // The token alone says who looks: another host gets no cookie.
      credentials: 'omit',
      signal: this.stop.signal,
    })
    const sdp = await answer.text()
    if (answer.status !== 201) return this.fail(`${answer.status}`)
    const address = answer.headers.get('Location')
    if (address) this.address = new URL(address, new URL(this.url, location.href)).href
    if (this.closed) return await this.end()
    await this.peer.setRemoteDescription({ type: 'answer', sdp })
  }

  private add(track: MediaStreamTrack): void {
    this.stream.addTrack(track)
    if (track.kind === 'audio') {
      // An answer may promise sound that the camera does not send.
      track.onunmute = () => this.events.sound()
      return
    }
    const next = () => {
      if (this.closed) return
      this.shown = true
      this.watch(SILENCE_MS)
      this.events.picture(this.video.videoWidth, this.video.videoHeight)
      this.video.requestVideoFrameCallback(next)
    }
    this.video.requestVideoFrameCallback(next)
    void this.video.play().catch(() => undefined)
  }

  private changed(): void {
    const { connectionState } = this.peer
    clearTimeout(this.parting)
    if (connectionState === 'failed' || connectionState === 'closed') this.fail(connectionState)
    if (connectionState !== 'disconnected') return
    this.parting = window.setTimeout(() => this.fail(connectionState), DISCONNECTED_MS)
  }

  private watch(forMs: number): void {
    clearTimeout(this.timer)
    this.timer = window.setTimeout(() => this.fail('silent'), forMs)
  }

  /** Without a picture so far this way is of no use; after one it may be again. */
  private fail(reason: string): void {
    if (this.closed) return
    if (!this.shown) this.events.unsupported(reason)
    else this.events.lost(reason === 'silent' ? 'silent' : 'network')
  }

  /** Tells the server, before the peers part: otherwise it has ended the view already. */
  private async end(): Promise<void> {
    const { address } = this
    this.address = null
    if (!address) return
    const signal = AbortSignal.timeout(FAREWELL_MS)
    const ask = { method: 'DELETE', credentials: 'omit', keepalive: true, signal } as const
    // A server that does not hear it misses the peer by itself.
    await fetch(address, { ...ask, headers: this.authorization() }).catch(() => undefined)
  }

  private authorization() {
    return { Authorization: `Bearer ${this.token}` }
  }
}

function gathered(peer: RTCPeerConnection): Promise<void> {
  return new Promise((resolve) => {
    if (peer.iceGatheringState === 'complete') return resolve()
    setTimeout(resolve, GATHERING_MS)
    peer.onicegatheringstatechange = () => {
      if (peer.iceGatheringState === 'complete') resolve()
    }
  })
}
