import { createRouter, createWebHistory, type RouteLocationNormalized } from 'vue-router'
import type { Console } from './app'
import { Problem } from './api/problem'
import CamerasPage from './points/CamerasPage.vue'
import SignInPage from './session/SignInPage.vue'

const routes = [
  { path: '/', redirect: '/cameras' },
  { path: '/sign-in', component: SignInPage, meta: { open: true } },
  { path: '/cameras', component: CamerasPage },
  { path: '/pictures', component: () => import('./thumbnails/PicturesPage.vue') },
  { path: '/map', component: () => import('./map/MapPage.vue') },
  { path: '/radio', component: () => import('./radio/RadioPage.vue') },
  { path: '/events', component: () => import('./events/EventsPage.vue') },
  { path: '/:rest(.*)*', redirect: '/cameras' },
]

/** Routes of the console. Whoever is not signed in goes to the sign-in page and then on. */
export function createConsoleRouter(console: Console) {
  const router = createRouter({ history: createWebHistory(), routes })

  router.beforeEach(async (to) => {
    if (to.meta.open) return true
    try {
      await console.session.resume()
    } catch (error) {
      if (!(error instanceof Problem) || error.status === 401) return signInFor(to)
      throw error
    }
    return console.session.me.value ? true : signInFor(to)
  })

  console.session.onEnd(() => {
    const { currentRoute } = router
    if (!currentRoute.value.meta.open) void router.replace(signInFor(currentRoute.value))
  })
  return router
}

function signInFor(target: RouteLocationNormalized) {
  const to = target.fullPath
  return { path: '/sign-in', query: to === '/cameras' || to === '/' ? {} : { to } }
}
